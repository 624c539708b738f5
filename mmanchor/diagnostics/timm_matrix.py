"""A small model of every family of timm, in MMPretrain's TIMMBackbone."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from .backbone_check import BackboneReport, check_backbone


@dataclass
class TimmEntry:
    """A small model of a family, built without weights.

    Attributes:
        model_name (str): The model's name in timm.
        width (int): Number of channels of its last features.
        size (int): Height and width of the images in pixels. Defaults to 64.
        features_only (bool): Whether timm returns maps of features, which is
            needed if the model returns tokens, or channels last. Defaults to
            False.
        built_for_2c (bool): Whether the model is built for anchored images,
            because no layer of it could be widened. Defaults to False.
        arguments (dict): Further arguments of the model, which make it small
            or fit it to the image size. Defaults to none.
    """

    model_name: str
    width: int
    size: int = 64
    features_only: bool = False
    built_for_2c: bool = False
    arguments: dict = field(default_factory=dict)

    def config(self) -> Config:
        """Return a config of MMPretrain that classifies with the model.

        Example:
            >>> TimmEntry('resnet10t', 512).config().model.backbone
            {'type': 'TIMMBackbone', 'model_name': 'resnet10t'}
        """
        backbone: dict = dict(type='TIMMBackbone', model_name=self.model_name)
        if self.features_only:
            # a head reads only the last of the maps
            backbone.update(features_only=True, out_indices=(-1,))
        kind: dict = dict(type='ImageClassifier')
        if self.built_for_2c:
            backbone.update(in_channels=6)
            kind = dict(
                type='AnchoredImageClassifier', stem=[], image_channels=3
            )
        model = dict(
            **kind,
            backbone={**backbone, **self.arguments},
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=10,
                in_channels=self.width,
                loss=dict(type='CrossEntropyLoss'),
            ),
        )
        preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=10)
        return Config(dict(model=model, data_preprocessor=preprocessor))

    def label(self) -> str:
        """Return the model's name and the arguments that it is built with."""
        shown = [f'{name}={value}' for name, value in self.arguments.items()]
        if self.features_only:
            shown.insert(0, 'features_only')
        return ', '.join([self.model_name, *shown])


def check_timm_family(family: str) -> BackboneReport:
    """Anchor a family's model and try it; see :func:`check_backbone`.

    The report has the family as ``backbone``, and the model as ``config``.
    """
    entry = TIMM_MATRIX[family]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{family}.py'
        entry.config().dump(path)
        report = check_backbone(path, entry.size)
    report.backbone, report.config = family, entry.label()
    return report


def introduction() -> tuple[str, dict[str, str]]:
    """Return the page's title, and its legend for a table of families."""
    import timm

    legend = {
        'backbone': 'the family, by the name of its module in timm '
        f'{timm.__version__}.',
        'config': "a small model of the family, in MMPretrain's "
        '`TIMMBackbone`, without weights, and the arguments that it was '
        'built with. Most of them make it smaller or fit it to small '
        'images. `features_only` makes it return the maps of features '
        "that MMPretrain's heads need. It stands where a model returns "
        'tokens or maps with channels last, or pools by itself.',
    }
    return 'What anchoring does to the families of timm', legend


def _maps(
    model_name: str, width: int, size: int = 64, **arguments
) -> TimmEntry:
    """An entry of a model that has to return its maps of features."""
    return TimmEntry(model_name, width, size, True, arguments=arguments)


# arguments that fit a model to 64 pixels, or make it smaller
_SIZED = dict(img_size=64)
_SHALLOW = dict(_SIZED, depth=2)
_NARROW = dict(embed_dim=48, depth=2, num_heads=2)
_SWIN = dict(_SIZED, depths=(1, 1, 1, 1), embed_dim=24)

TIMM_MATRIX: dict[str, TimmEntry] = {
    'beit': _maps(
        'beit_base_patch16_224', 48, **_SHALLOW, embed_dim=48, num_heads=2
    ),
    'byoanet': TimmEntry('halonet_h1', 512, size=256),
    'byobnet': TimmEntry('test_byobnet', 256),
    'cait': _maps('cait_xxs24_224', 192, **_SHALLOW),
    'coat': _maps('coat_tiny', 152, **_SIZED),
    'convit': _maps(
        'convit_tiny', 192, img_size=64, depth=2, local_up_to_layer=1
    ),
    'convmixer': TimmEntry('convmixer_768_32', 768),
    'convnext': TimmEntry('test_convnext', 64),
    'cpubone': _maps('cpubone_nano', 192),
    'crossvit': _maps('crossvit_tiny_240', 192, size=240),
    'csatv2': TimmEntry('csatv2', 386, size=256),
    'cspnet': TimmEntry('cs3darknet_focus_s', 512),
    'cspnext': TimmEntry('cspnext_tiny', 384),
    'davit': TimmEntry('davit_tiny', 768, arguments=dict(depths=(1, 1, 1, 1))),
    'deepseek_vit': _maps(
        'deepseek_vit_412m', 48, size=84, img_size=84, **_NARROW
    ),
    'deit': _maps('deit_tiny_patch16_224', 192, **_SHALLOW),
    'densenet': TimmEntry('densenet121', 1024),
    'dla': TimmEntry('dla46x_c', 256),
    'dpn': TimmEntry('dpn48b', 832),
    'edgenext': TimmEntry('edgenext_xx_small', 168),
    'efficientformer': _maps('efficientformer_l1', 448, size=224),
    'efficientformer_v2': TimmEntry('efficientformerv2_s0', 176, size=224),
    'efficientnet': TimmEntry('test_efficientnet', 256),
    'efficientvim': _maps('efficientvim_m1', 320),
    'efficientvit_mit': _maps('efficientvit_b0', 128),
    'efficientvit_msra': TimmEntry('efficientvit_m0', 192, size=224),
    'eva': _maps('vit_tiny_patch16_dinov3_qkvb', 192, **_SHALLOW),
    'fasternet': _maps('fasternet_t0', 320),
    'fastvit': TimmEntry('fastvit_t8', 768),
    'focalnet': TimmEntry('focalnet_tiny_srf', 768),
    'gcvit': TimmEntry('gcvit_xxtiny', 512, size=224),
    'gemma4_vit': _maps('gemma4_vit_167m', 48, **_SIZED, **_NARROW),
    'ghostnet': _maps('ghostnet_050', 80),
    'hardcorenas': _maps('hardcorenas_b', 960),
    'hgnet': _maps('hgnetv2_b0', 1024),
    'hiera': _maps('hiera_tiny_224', 768, size=224),
    'hieradet_sam2': _maps('sam2_hiera_tiny', 768, size=128),
    'hrnet': TimmEntry('hrnet_w18_small', 2048),
    'iformer': TimmEntry('iformer_t', 256),
    'inception_next': _maps('inception_next_atto', 320),
    'inception_resnet_v2': TimmEntry('inception_resnet_v2', 1536, size=96),
    'inception_v3': TimmEntry('inception_v3', 2048, size=96),
    'inception_v4': TimmEntry('inception_v4', 1536, size=96),
    'lcnetv2': _maps('lcnetv2_small', 768),
    'levit': _maps('levit_128s', 384, size=224),
    'lowformer': _maps('lowformer_b0', 256),
    'mambaout': _maps('test_mambaout', 64, feature_cls='getter'),
    'maxxvit': TimmEntry('test_coatnet', 128, arguments=_SIZED),
    'metaformer': TimmEntry('poolformer_s12', 512),
    'mlp_mixer': _maps('resmlp_12_224', 384, **_SIZED),
    'mobilenetv3': _maps('mobilenetv3_small_050', 288),
    'mobilenetv5': TimmEntry('mobilenetv5_base', 2048, size=128),
    'mobilevit': TimmEntry('mobilevit_xxs', 320),
    'mvitv2': _maps('mvitv2_tiny', 768, **_SIZED),
    'naflexvit': _maps('naflexvit_base_patch16_gap', 48, **_NARROW),
    'nasnet': TimmEntry('nasnetalarge', 4032, size=96),
    'nest': TimmEntry('nest_tiny', 384, size=224),
    'nextvit': TimmEntry('nextvit_small', 1024),
    'nfnet': TimmEntry('test_nfnet', 192),
    'pit': _maps('pit_ti_224', 256, size=224),
    'pnasnet': TimmEntry('pnasnet5large', 4320, size=96),
    'pvt_v2': TimmEntry('pvt_v2_b0', 256),
    'qwen3_vit': _maps('qwen3_vit_88m', 48, **_SIZED, **_NARROW),
    'rdnet': TimmEntry('rdnet_tiny', 1040),
    'regnet': TimmEntry('regnetx_002', 368),
    'repghost': _maps('repghostnet_050', 80),
    'repvit': TimmEntry('repvit_m0_9', 384),
    'res2net': TimmEntry('res2net50_14w_8s', 2048),
    'resnest': TimmEntry('resnest14d', 2048),
    'resnet': TimmEntry('resnet10t', 512),
    'resnetv2': TimmEntry('resnetv2_50x1_bit', 2048),
    'rexnet': TimmEntry('rexnet_100', 1280),
    'selecsls': TimmEntry('selecsls42', 1280),
    'senet': TimmEntry('legacy_seresnet18', 512),
    'sequencer': _maps(
        'sequencer2d_s', 384, feature_cls='getter', layers=(1, 1, 1, 1)
    ),
    'shvit': TimmEntry('shvit_s1', 320),
    'sknet': TimmEntry('skresnet18', 512),
    'starnet': TimmEntry('starnet_s050', 128),
    'swiftformer': TimmEntry('swiftformer_xs', 220),
    'swin_transformer': _maps(
        'swin_tiny_patch4_window7_224', 192, feature_cls='getter', **_SWIN
    ),
    'swin_transformer_v2': _maps(
        'swinv2_tiny_window8_256', 192, feature_cls='getter', **_SWIN
    ),
    'swin_transformer_v2_cr': TimmEntry(
        'swinv2_cr_tiny_224', 192, arguments=_SWIN
    ),
    'tiny_vit': TimmEntry('tiny_vit_5m_224', 320, size=224),
    'tnt': _maps('tnt_s_patch16_224', 384, **_SHALLOW),
    'tresnet': TimmEntry('tresnet_m', 2048, built_for_2c=True),
    'twins': _maps('twins_pcpvt_small', 512, **_SIZED),
    'vgg': _maps('vgg11', 512),
    'visformer': TimmEntry('visformer_tiny', 384, arguments=_SIZED),
    'vision_transformer': _maps('test_vit', 64, **_SIZED),
    'vision_transformer_hybrid': _maps(
        'vit_tiny_r_s16_p8_224', 192, **_SHALLOW
    ),
    'vision_transformer_relpos': _maps('test_vit_relpos', 96, **_SIZED),
    'vision_transformer_sam': TimmEntry(
        'samvit_base_patch16_224', 48, arguments=dict(_SIZED, **_NARROW)
    ),
    'vitamin': _maps('vitamin_small_224', 384, **_SIZED),
    'volo': _maps('volo_d1_224', 384, **_SIZED),
    'vovnet': TimmEntry('ese_vovnet19b_slim_dw', 512),
    'xception': TimmEntry('legacy_xception', 2048, size=96),
    'xception_aligned': TimmEntry('xception41', 2048),
    'xcit': _maps('xcit_nano_12_p8_224', 128, **_SHALLOW),
}
