"""Models of the recipes, at full size."""

import pytest
import torch
import yaml
from helpers.recipe_leaves import CIFAR_FAMILIES, KINDS, leaf, read
from mmpretrain.registry import MODELS
from torch.nn.functional import cross_entropy
from torchvision.models import get_model_weights

from mmanchor import CONFIG_DIR

# parameters of torchvision's and of MMPretrain's own
IMAGENET = {
    'swinv2-tiny': 'swin_v2_t',
    'swinv2-small': 'swin_v2_s',
    'swinv2-base': 'swin_v2_b',
    'vit-base-p16': 'vit_b_16',
    'regnety-800mf': 'regnet_y_800mf',
    'deit-small': 22050664,
}


def build(cfg):
    return MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def plain_parameters(model):
    """Without what anchoring adds."""
    layers = [model.backbone.get_submodule(name) for name in model.stem]
    assert [layer.in_channels for layer in layers] == [6]
    return parameters(model) - layers[0].weight.numel() // 2


@pytest.mark.parametrize('family', CIFAR_FAMILIES)
def test_cifar_models(family):
    models = [build(read(leaf(family, kind))) for kind in KINDS]
    classes = 100 if family[0] == 'cifar100' else 10
    millions = 2.2 if family[1] == 'wrn-40-2' else 11.2
    assert parameters(models[0]) / 1e6 == pytest.approx(millions, abs=0.06)
    for model in models[1:]:
        assert plain_parameters(model) == parameters(models[0])
    stem = models[0].backbone.get_submodule(models[1].stem[0])
    assert (stem.in_channels, stem.kernel_size, stem.stride) == (
        3,
        (3, 3),
        (1, 1),
    )
    for model in models:
        assert model.head.num_classes == classes
        assert model.data_preprocessor.num_classes == classes


@pytest.mark.parametrize('name,expected', IMAGENET.items())
def test_imagenet_models(name, expected):
    model = build(read(f'imagenet/{name}_anchored-masked_imagenet.py'))
    if isinstance(expected, str):
        weights = get_model_weights(expected).IMAGENET1K_V1
        expected = weights.meta['num_params']
    # MMPretrain's SwinV2 differs in some biases
    assert plain_parameters(model) == pytest.approx(expected, rel=1e-3)
    assert model.head.num_classes == 1000
    metafile = yaml.safe_load(
        (CONFIG_DIR / 'imagenet/metafile.yml').read_text()
    )
    told = {m['Name']: m['Metadata']['Parameters'] for m in metafile['Models']}
    assert [told[f'{name}{kind}_imagenet'] for kind in KINDS] == [
        plain_parameters(model),
        parameters(model),
        parameters(model),
    ]


def test_dropped_paths_and_windows_are_torchvision_s():
    for size, rate in (('tiny', 0.2), ('small', 0.3), ('base', 0.5)):
        backbone = read(f'imagenet/swinv2-{size}_imagenet.py').model.backbone
        assert backbone.drop_path_rate == rate
        assert (backbone.img_size, backbone.get('window_size', 8)) == (256, 8)


def test_regularisation_is_torchvision_s():
    swin = read('imagenet/swinv2-base_imagenet.py').model
    vit = read('imagenet/vit-base-p16_imagenet.py').model
    regnet = read('imagenet/regnety-800mf_imagenet.py').model
    assert swin.head.loss.label_smooth_val == 0.1
    assert vit.head.loss.label_smooth_val == 0.11
    assert regnet.head.loss.type == 'CrossEntropyLoss'
    alphas = [
        [step.alpha for step in model.train_cfg.augments]
        for model in (swin, vit)
    ]
    assert alphas == [[0.8, 1.0], [0.2, 1.0]]
    assert 'train_cfg' not in regnet
    model = build(read('imagenet/vit-base-p16_imagenet.py'))
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0}
    logits, soft = torch.randn(4, 1000), torch.rand(4, 1000)
    soft /= soft.sum(1, keepdim=True)  # as mixed labels
    assert model.head.loss_module(logits, soft).item() == pytest.approx(
        cross_entropy(logits, soft, label_smoothing=0.11).item(), rel=1e-5
    )
