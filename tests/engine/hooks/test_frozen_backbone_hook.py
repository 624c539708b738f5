"""Heads that are trained on cached features of a frozen backbone."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.runs import config_maker
from mmengine.runner import Runner
from mmpretrain import get_model
from mmpretrain.datasets import CustomDataset
from PIL import Image

from mmanchor.datasets.cached_features import image_files_sha256
from mmanchor.engine import FrozenBackboneHook, launch
from mmanchor.engine.hooks import frozen_backbone_hook
from mmanchor.engine.hooks.frozen_backbone_hook import (
    features_pass,
    trunk_features,
)
from mmanchor.functional import ReferredImages
from mmanchor.suite.candidates import Candidate

HIDDEN = {
    'model.head.type': 'StackedLinearClsHead',
    'model.head.mid_channels': [16],
}
ANCHORED = {**HIDDEN, 'model.anchor_at': 'head'}


@pytest.fixture(scope='module')
def backbone_once(tmp_path_factory):
    """A plain checkpoint, whose head is linear."""
    folder = tmp_path_factory.mktemp('backbone')
    cfg = config_maker(folder)('', epochs=1)
    Runner.from_cfg(cfg).train()
    return folder / 'work/epoch_1.pth'


@pytest.fixture
def backbone(backbone_once, tmp_path):
    """A copy in a folder of its own."""
    (tmp_path / 'start').mkdir()
    return Path(shutil.copy(backbone_once, tmp_path / 'start'))


@pytest.fixture
def head_config(small_config, backbone):
    """Make the config of a head on the backbone, plain or anchored."""

    def make(name='anchored-masked_', hook=(), **options):
        options = {
            **(ANCHORED if name else HIDDEN),
            'load_from': str(backbone),
            'epochs': 2,
            'validate_every': 2,
            **options,
        }
        cfg = small_config(name, **options)
        own = dict(type='FrozenBackboneHook', **dict(hook))
        references = dict(type='KReferenceHook', num_references=3)
        cfg.custom_hooks = [references, own] if name else [own]
        return cfg

    return make


@pytest.fixture
def computed(monkeypatch):
    """How many training images passed the backbone, each time they did."""
    counts, compute = [], frozen_backbone_hook.compute_features

    def count(dataset, rows, *args):
        counts.append(len(rows))
        return compute(dataset, rows, *args)

    monkeypatch.setattr(frozen_backbone_hook, 'compute_features', count)
    return counts


def train(cfg) -> dict:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.state_dict()


def features_beside(checkpoint) -> list[Path]:
    return sorted(checkpoint.parent.glob('features_*.npz'))


@pytest.mark.parametrize(
    'name,options',
    [
        ('', {}),
        pytest.param(
            'anchored-masked_',
            {'data_preprocessor.mask_prob': 0.5},
            marks=pytest.mark.slow,
        ),
        ('anchored-masked_', {'data_preprocessor.mask_by': 'sample'}),
    ],
)
def test_a_head_is_the_one_that_images_would_train(head_config, name, options):
    found = train(head_config(name, **options))
    cfg = head_config(
        name,
        **options,
        **{
            'model.backbone.frozen_stages': 4,
            'model.backbone.norm_eval': True,
        },
    )
    cfg.custom_hooks = cfg.custom_hooks[:-1]
    cfg.train_dataloader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline
    expected = train(cfg)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5)


def test_backbone_and_statistics_stay_as_they_were(head_config, backbone):
    cfg = head_config()
    found = train(cfg)
    before = torch.load(backbone, weights_only=False)['state_dict']
    frozen = [key for key in before if not key.startswith('head.')]
    assert any('running_mean' in key for key in frozen)
    assert all(torch.equal(found[key], before[key]) for key in frozen)


def test_features_are_computed_once_for_all_heads(
    head_config, backbone, computed
):
    train(head_config('', epochs=1))
    (path,) = features_beside(backbone)
    train(head_config(epochs=1, **{'randomness.seed': 1}))
    assert features_beside(backbone) == [path] and computed == [50]
    path.write_bytes(path.read_bytes()[:-300])  # damaged
    train(head_config(epochs=1))
    assert computed == [50, 50]


@pytest.mark.slow
def test_without_a_checkpoint_features_are_in_the_work_dir(
    head_config, backbone, tmp_path
):
    initial = dict(
        type='Pretrained', checkpoint=str(backbone), prefix='backbone.'
    )
    train(
        head_config(
            epochs=1, load_from=None, **{'model.backbone.init_cfg': initial}
        )
    )
    assert not features_beside(backbone)
    assert features_beside(tmp_path / 'work/epoch_1.pth')


def test_the_result_is_an_ordinary_checkpoint(head_config, tmp_path):
    cfg = head_config()
    runner = Runner.from_cfg(cfg)
    runner.train()
    validated = runner.val_loop.run()['accuracy/top1']
    cfg.experiment_name = None
    cfg.dump(tmp_path / 'config.py')
    checkpoint = str(tmp_path / 'work/epoch_2.pth')
    metrics = launch.test([str(tmp_path / 'config.py'), checkpoint])
    assert metrics['accuracy/top1'] == validated
    ready = Candidate('head', cfg, checkpoint, 'config.py').load('cpu')
    images = torch.stack(
        [runner.val_dataloader.dataset[i]['inputs'] for i in range(8)]
    )
    model = get_model(cfg, checkpoint)
    with torch.no_grad():
        images = model.data_preprocessor(dict(inputs=images))['inputs']
        expected = runner.model(images)
        torch.testing.assert_close(model(images), expected)
        torch.testing.assert_close(ready.model(images), expected)
        of_images = model.reference_logits(images)
        assert of_images.std(0).max() > 1e-3
        bank = model.reference_bank.images
        packed = model.data_preprocessor(dict(inputs=bank))
        references = trunk_features(model, packed)
        features = trunk_features(model, dict(inputs=images))
        with features_pass(model):
            of_features = [
                model(ReferredImages(features, one.expand_as(features)))
                for one in references
            ]
    of_features = torch.stack(of_features)
    torch.testing.assert_close(of_features, of_images, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_head_is_resumed_as_if_it_had_gone_on(head_config, tmp_path):
    expected = train(head_config())
    first = str(tmp_path / 'work/epoch_1.pth')
    found = train(head_config(load_from=first, resume=True))
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope='module')
def features_once(backbone_once, tmp_path_factory):
    """A file of features, by its name."""
    folder = tmp_path_factory.mktemp('features')
    file = str(folder / 'mine.npz')
    cfg = config_maker(folder)(
        '',
        custom_hooks=[dict(type='FrozenBackboneHook', file=file)],
        **HIDDEN,
        epochs=1,
        load_from=str(backbone_once),
    )
    Runner.from_cfg(cfg).train()
    return file


def test_mixup_trains_a_head_on_mixed_features(head_config, backbone):
    mixup = dict(augments=[dict(type='Mixup', alpha=1.0)])
    plain = train(head_config())
    found = train(head_config(**{'data_preprocessor.batch_augments': mixup}))
    differ = {
        key.split('.')[0]
        for key, value in found.items()
        if not torch.equal(value, plain[key])
    }
    assert differ == {'head'}
    assert all(value.isfinite().all() for value in found.values())


def test_an_image_that_changed_in_place_has_another_hash(tmp_path):
    for index in range(3):
        (tmp_path / 'class').mkdir(exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / f'class/{index}.png')

    def found():
        dataset = CustomDataset(data_root=str(tmp_path))
        return image_files_sha256(dataset)

    before = found()
    assert before == found()
    path = tmp_path / 'class/1.png'
    written, content = path.stat(), path.read_bytes()
    path.write_bytes(content + b' ')  # another size, and the same time
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    longer = found()
    path.write_bytes(content)  # the first size, and another time
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns + 1))
    assert len({before, longer, found()}) == 3
    dataset = CustomDataset(data_root=str(tmp_path))
    dataset.get_data_info = lambda _: dict(img_path='s3://images/1.png')
    assert len({before, image_files_sha256(dataset)}) == 2


@pytest.mark.parametrize(
    'options,name',
    [
        ({'load_from': None}, 'weights'),
        (
            {
                'val_dataloader.dataset.pipeline': [
                    dict(type='Resize', scale=16, interpolation='nearest'),
                    dict(type='PackInputs'),
                ]
            },
            'pipeline',
        ),
        ({'data_preprocessor.mean': [9.0] * 3}, 'normalisation.mean'),
        ({'train_dataloader.dataset.indices': 40}, 'images .50 then, 40 now'),
    ],
)
def test_features_of_another_model_or_other_images_are_refused(
    head_config, features_once, options, name
):
    cfg = head_config('', hook=dict(file=features_once), **options)
    with pytest.raises(
        ValueError, match=f'mine.npz to hold .*another {name}.*Remove the'
    ):
        train(cfg)


def test_features_of_images_that_changed_in_place_are_refused(
    head_config, features_once, monkeypatch
):
    monkeypatch.setattr(
        frozen_backbone_hook, 'image_files_sha256', lambda images: 'changed'
    )
    with pytest.raises(ValueError, match='another image_files'):
        train(head_config('', hook=dict(file=features_once)))


@pytest.mark.slow
def test_features_of_another_pipeline_have_another_file(head_config, backbone):
    for mean in (80.0, 9.0):
        options = {'data_preprocessor.mean': [mean] * 3}
        train(head_config(epochs=1, **options))
    assert len(features_beside(backbone)) == 2


@pytest.mark.slow
def test_a_folder_that_is_full_costs_the_work_again(
    head_config, backbone, computed, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError('No space left on device')

    monkeypatch.setattr(np, 'savez', full)
    for _ in range(2):
        train(head_config(epochs=1))
    assert computed == [50, 50] and not features_beside(backbone)


@pytest.mark.parametrize(
    'options,words',
    [
        ({'model.anchor_at': 'layer4'}, "anchor_at='head'.*got 'layer4'"),
        (
            {'data_preprocessor.references': dict(type='ReferenceSet')},
            "references='batch'",
        ),
        (
            {
                'data_preprocessor.batch_augments': dict(
                    augments=[dict(type='CutMix', alpha=1.0)]
                )
            },
            'no `batch_augments` but Mixup .*got CutMix',
        ),
    ],
)
def test_what_features_cannot_train_is_refused(head_config, options, words):
    with pytest.raises(ValueError, match=words):
        train(head_config(**options))


def test_runs_that_features_do_not_fit_are_refused(head_config, monkeypatch):
    cfg = head_config('')
    cfg.model.neck = None
    with pytest.raises(TypeError, match=r'map of shape \(64, 2, 2\).*neck='):
        train(cfg)
    cfg = head_config()
    cfg.custom_hooks.append(dict(type='BatchImageHook'))
    with pytest.raises(ValueError, match='no BatchImageHook beside'):
        train(cfg)
    runner = Runner.from_cfg(head_config(''))
    runner.model.head = None
    with pytest.raises(TypeError, match='ImageClassifier with a head'):
        runner.call_hook('before_run')
    monkeypatch.setattr(frozen_backbone_hook, 'get_world_size', lambda: 2)
    with pytest.raises(ValueError, match='one process .*got 2. Start one'):
        runner.call_hook('before_run')


@pytest.mark.parametrize(
    'arguments,words',
    [
        (dict(batch_size=0), '`batch_size` .*at least 1, but got 0'),
        (dict(workers=0), '`workers` .*at least 1'),
        (dict(file='features.pth'), 'end in .npz, but got'),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        FrozenBackboneHook(**arguments)
