"""Configs for converted checkpoints: pixels and evaluation, as documented."""

import pytest
import yaml
from mmengine.config import Config
from mmpretrain.registry import MODELS, TRANSFORMS

from mmanchor import CONFIG_DIR
from mmanchor.models import AnchoredImageClassifier

CIFAR_PIXELS = [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]]
IMAGENET_PIXELS = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
# config -> pixels, (short edge, crop), references, average
CONFIGS = {
    'resnet18_cifar10': (CIFAR_PIXELS, None, 0, None),
    'resnet18_cifar100': (CIFAR_PIXELS, None, 0, None),
    'resnet18_anchored_cifar10': (CIFAR_PIXELS, None, 1, 'logits'),
    'resnet18_anchored_cifar100': (CIFAR_PIXELS, None, 1, 'logits'),
    'vit-b16_in1k': (IMAGENET_PIXELS, (256, 224), 0, None),
    'vit-b16_anchored_in1k': (IMAGENET_PIXELS, (256, 224), 5, 'calibrated'),
    'swinv2-t_in1k': (IMAGENET_PIXELS, (260, 256), 0, None),
    'swinv2-s_in1k': (IMAGENET_PIXELS, (260, 256), 0, None),
    'swinv2-b_in1k': (IMAGENET_PIXELS, (272, 256), 0, None),
    'swinv2-t_anchored_in1k': (IMAGENET_PIXELS, (256, 256), 5, 'calibrated'),
    'swinv2-s_anchored_in1k': (IMAGENET_PIXELS, (256, 256), 5, 'calibrated'),
    'swinv2-b_anchored_in1k': (IMAGENET_PIXELS, (256, 256), 5, 'calibrated'),
}

INDEX = yaml.safe_load((CONFIG_DIR / 'converted/metafile.yml').read_text())
TOLD = {m['Name']: m['Metadata']['Parameters'] for m in INDEX['Models']}


def test_all_are_here():
    there = {path.stem for path in (CONFIG_DIR / 'converted').glob('*.py')}
    assert there == set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_pixels_and_references_are_as_documented(name):
    (mean, std), edges, references, average = CONFIGS[name]
    path = CONFIG_DIR / 'converted' / f'{name}.py'
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 30
    cfg = Config.fromfile(path)
    assert cfg.custom_imports.imports == ['mmanchor']
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    assert TOLD[f'{name}_converted'] == sum(
        p.numel() for p in model.parameters()
    )
    preprocessor = model.data_preprocessor
    assert [
        value / 255 for value in preprocessor.mean.flatten().tolist()
    ] == pytest.approx(mean)
    assert [
        value / 255 for value in preprocessor.std.flatten().tolist()
    ] == pytest.approx(std)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        steps = {
            step['type']: TRANSFORMS.build(step)
            for step in loader.dataset.pipeline
        }
        found = None
        if 'ResizeEdge' in steps:
            resize, crop = steps['ResizeEdge'], steps['CenterCrop']
            found = (resize.scale, *set(crop.crop_size))
            assert resize.backend == 'pillow'
            assert resize.interpolation == (
                'bicubic' if 'swin' in name else 'bilinear'
            )
        assert found == edges
    assert isinstance(model, AnchoredImageClassifier) == bool(references)
    if references:
        assert model.average == average
        (hook,) = cfg.custom_hooks
        assert hook.num_references == references
    classes = dict(cifar10=10, cifar100=100, in1k=1000)
    assert model.head.num_classes == classes[name.split('_')[-1]]
