"""The promise: any backbone. Some always, all 58 in ``make test-slow``.

Of timm, too: a small model of each of its families, within ``TIMMBackbone``.

``tools/check_backbone.py --all`` does the same with whole models on images of
the configs' sizes; here images are small, and the largest models have few
layers of few channels. The layers that read the image are of the same kind.
"""

import pytest

from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.diagnostics.backbone_matrix import HOST_CONFIGS, MATRIX
from mmanchor.diagnostics.timm_matrix import TIMM_MATRIX, check_timm_family

SIZE = 64
# one of each kind of stem
ALWAYS = (
    'ConvNeXt',
    'MlpMixer',
    'MobileNetV3',
    'RepVGG',
    'ResNet',
    'SwinTransformerV2',
    'T2T_ViT',
    'VisionTransformer',
)
# of timm: a convolution that standardises its weight, tokens, and channels last
TIMM_ALWAYS = ('nfnet', 'swin_transformer', 'vision_transformer')
# no convolution reads the image as it is: they are built for 2C channels
TIMM_BUILT = ('gemma4_vit', 'naflexvit', 'tresnet')
# backbones that take images of the config's size only
OF_ONE_SIZE = (
    'EfficientFormer HiViT InceptionV3 LeViT MixMIMTransformer PyramidVig '
    'RepMLPNet RevVisionTransformer SwinTransformer T2T_ViT TNT TinyViT Vig'
).split()
TRANSFORMER = dict(
    _delete_=True,
    embed_dims=32,
    num_layers=2,
    num_heads=2,
    feedforward_channels=64,
)
SWIN = dict(
    _delete_=True, embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]
)
# changes to the model, by backbone
FEW_WEIGHTS = {
    'BEiTViT': {
        'backbone.img_size': SIZE,
        'backbone.arch': TRANSFORMER,
        'head.in_channels': 32,
    },
    'DaViT': {'backbone.pad_small_map': True},
    'MixMIMTransformer': {
        'backbone.arch': SWIN,
        'head.in_channels': 128,
    },
    'MlpMixer': {
        'backbone.img_size': SIZE,
        'backbone.arch': dict(
            _delete_=True,
            embed_dims=32,
            num_layers=2,
            tokens_mlp_dims=16,
            channels_mlp_dims=64,
        ),
        'head.in_channels': 32,
    },
    'RepLKNet': {
        'backbone.arch': dict(
            _delete_=True,
            large_kernel_sizes=[31, 29, 27, 13],
            layers=[1, 1, 1, 1],
            channels=[8, 16, 32, 64],
            small_kernel=5,
            dw_ratio=1,
        ),
        'head.in_channels': 64,
    },
    'RepMLPNet': {
        'backbone.arch': dict(
            _delete_=True,
            channels=[16, 32, 64, 128],
            depths=[1, 1, 1, 1],
            sharesets_nums=[1, 4, 16, 32],
        ),
        'head.in_channels': 128,
    },
    'RevVisionTransformer': {
        'backbone.arch': TRANSFORMER,
        'head.in_channels': 64,
    },
    'SwinTransformerV2': {
        'backbone.img_size': SIZE,
        'backbone.window_size': [4, 4, 4, 2],
        'backbone.arch': dict(SWIN, extra_norm_every_n_blocks=0),
        'head.in_channels': 128,
    },
    'T2T_ViT': {'backbone.num_layers': 2},
    'TNT': {
        'backbone.arch': dict(
            _delete_=True,
            embed_dims_outer=32,
            embed_dims_inner=8,
            num_layers=2,
            num_heads_outer=2,
            num_heads_inner=2,
        ),
        'head.in_channels': 32,
    },
    'VGG': {
        'backbone.num_classes': -1,
        'neck': dict(_delete_=True, type='GlobalAveragePooling'),
        'head': dict(
            _delete_=True,
            type='LinearClsHead',
            num_classes=1000,
            in_channels=512,
            loss=dict(type='CrossEntropyLoss'),
        ),
    },
}


def some_always(names, always):
    """Values of a test of which all others are slow."""
    return [
        name if name in always else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize('name', some_always(MATRIX, ALWAYS))
def test_a_backbone_is_anchored_and_starts_exactly(name):
    entry = MATRIX[name]
    options = {
        f'model.{key}': value
        for key, value in FEW_WEIGHTS.get(name, {}).items()
    }
    report = check_backbone(
        HOST_CONFIGS / entry.config,
        None if name in OF_ONE_SIZE else SIZE,
        options={**(entry.options or {}), **options},
    )
    assert report.failure is None
    assert report.backbone == name
    starts_exactly = report.warm_start_error is not None
    assert starts_exactly == bool(report.stem) == (name != 'T2T_ViT')
    # Vig joins nearest neighbours, which rounding may change
    assert (report.warm_start_error or 0) < (1e-3 if name == 'Vig' else 1e-5)


@pytest.mark.parametrize(
    'family',
    some_always([one for one in TIMM_MATRIX if one != 'csatv2'], TIMM_ALWAYS),
)
def test_a_family_of_timm_is_anchored_and_starts_exactly(family):
    report = check_timm_family(family)
    assert report.failure is None
    assert report.backbone == family
    starts_exactly = report.warm_start_error is not None
    assert starts_exactly == bool(report.stem) == (family not in TIMM_BUILT)
    assert (report.warm_start_error or 0) < 1e-4


def test_a_network_that_reads_a_cosine_transform_is_refused():
    report = check_timm_family('csatv2')
    assert 'anchor it: ValueError: Expected a forward pass' in report.failure
    assert 'stem_dct.conv_y' in report.failure


def test_the_matrix_has_every_family_of_timm():
    timm = pytest.importorskip('timm')
    families = set(timm.list_modules())
    # later versions of timm have more
    assert len(families & set(TIMM_MATRIX)) >= 90
    for family, entry in TIMM_MATRIX.items():
        if family in families:
            assert entry.model_name in timm.list_models(module=family)
