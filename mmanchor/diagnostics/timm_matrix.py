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
        head = dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=self.width,
            loss=dict(type='CrossEntropyLoss'),
        )
        kind: dict = dict(type='ImageClassifier')
        if self.built_for_2c:
            backbone.update(in_channels=6)
            kind = dict(
                type='AnchoredImageClassifier', stem=[], image_channels=3
            )
        return Config(
            dict(
                model=dict(
                    **kind,
                    backbone={**backbone, **self.arguments},
                    neck=dict(type='GlobalAveragePooling'),
                    head=head,
                ),
                data_preprocessor=dict(
                    mean=[127.5] * 3, std=[127.5] * 3, num_classes=10
                ),
            )
        )

    def label(self) -> str:
        """Return the model's name and the arguments that it is built with."""
        shown = [f'{name}={value}' for name, value in self.arguments.items()]
        if self.features_only:
            shown.insert(0, 'features_only')
        return ', '.join([self.model_name, *shown])


def check_timm_family(family: str) -> BackboneReport:
    """Anchor a family's model and try it; see :func:`check_backbone`.

    Args:
        family (str): A key of ``TIMM_MATRIX``.

    Returns:
        BackboneReport: With the family as ``backbone``, and the model as
        ``config``.
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

    return (
        'What anchoring does to the families of timm',
        {
            'backbone': 'the family, by the name of its module in timm '
            f'{timm.__version__}.',
            'config': "a small model of the family, in MMPretrain's "
            '`TIMMBackbone`, without weights, and the arguments that it was '
            'built with. Most of them make it smaller or fit it to small '
            'images. `features_only` makes it return the maps of features '
            "that MMPretrain's heads need. It stands where a model returns "
            'tokens or maps with channels last, or pools by itself.',
        },
    )


TIMM_MATRIX: dict[str, TimmEntry] = {
    'beit': TimmEntry(
        'beit_base_patch16_224',
        48,
        features_only=True,
        arguments=dict(img_size=64, depth=2, embed_dim=48, num_heads=2),
    ),
    'byoanet': TimmEntry('halonet_h1', 512, size=256),
    'byobnet': TimmEntry('test_byobnet', 256),
    'cait': TimmEntry(
        'cait_xxs24_224',
        192,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
    'coat': TimmEntry(
        'coat_tiny', 152, features_only=True, arguments=dict(img_size=64)
    ),
    'convit': TimmEntry(
        'convit_tiny',
        192,
        features_only=True,
        arguments=dict(img_size=64, depth=2, local_up_to_layer=1),
    ),
    'convmixer': TimmEntry('convmixer_768_32', 768),
    'convnext': TimmEntry('test_convnext', 64),
    'cpubone': TimmEntry('cpubone_nano', 192, features_only=True),
    'crossvit': TimmEntry(
        'crossvit_tiny_240', 192, size=240, features_only=True
    ),
    'csatv2': TimmEntry('csatv2', 386, size=256),
    'cspnet': TimmEntry('cs3darknet_focus_s', 512),
    'cspnext': TimmEntry('cspnext_tiny', 384),
    'davit': TimmEntry('davit_tiny', 768, arguments=dict(depths=(1, 1, 1, 1))),
    'deepseek_vit': TimmEntry(
        'deepseek_vit_412m',
        48,
        size=84,
        features_only=True,
        arguments=dict(img_size=84, embed_dim=48, depth=2, num_heads=2),
    ),
    'deit': TimmEntry(
        'deit_tiny_patch16_224',
        192,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
    'densenet': TimmEntry('densenet121', 1024),
    'dla': TimmEntry('dla46x_c', 256),
    'dpn': TimmEntry('dpn48b', 832),
    'edgenext': TimmEntry('edgenext_xx_small', 168),
    'efficientformer': TimmEntry(
        'efficientformer_l1', 448, size=224, features_only=True
    ),
    'efficientformer_v2': TimmEntry('efficientformerv2_s0', 176, size=224),
    'efficientnet': TimmEntry('test_efficientnet', 256),
    'efficientvim': TimmEntry('efficientvim_m1', 320, features_only=True),
    'efficientvit_mit': TimmEntry('efficientvit_b0', 128, features_only=True),
    'efficientvit_msra': TimmEntry('efficientvit_m0', 192, size=224),
    'eva': TimmEntry(
        'vit_tiny_patch16_dinov3_qkvb',
        192,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
    'fasternet': TimmEntry('fasternet_t0', 320, features_only=True),
    'fastvit': TimmEntry('fastvit_t8', 768),
    'focalnet': TimmEntry('focalnet_tiny_srf', 768),
    'gcvit': TimmEntry('gcvit_xxtiny', 512, size=224),
    'gemma4_vit': TimmEntry(
        'gemma4_vit_167m',
        48,
        features_only=True,
        arguments=dict(img_size=64, embed_dim=48, depth=2, num_heads=2),
    ),
    'ghostnet': TimmEntry('ghostnet_050', 80, features_only=True),
    'hardcorenas': TimmEntry('hardcorenas_b', 960, features_only=True),
    'hgnet': TimmEntry('hgnetv2_b0', 1024, features_only=True),
    'hiera': TimmEntry('hiera_tiny_224', 768, size=224, features_only=True),
    'hieradet_sam2': TimmEntry(
        'sam2_hiera_tiny', 768, size=128, features_only=True
    ),
    'hrnet': TimmEntry('hrnet_w18_small', 2048),
    'iformer': TimmEntry('iformer_t', 256),
    'inception_next': TimmEntry(
        'inception_next_atto', 320, features_only=True
    ),
    'inception_resnet_v2': TimmEntry('inception_resnet_v2', 1536, size=96),
    'inception_v3': TimmEntry('inception_v3', 2048, size=96),
    'inception_v4': TimmEntry('inception_v4', 1536, size=96),
    'lcnetv2': TimmEntry('lcnetv2_small', 768, features_only=True),
    'levit': TimmEntry('levit_128s', 384, size=224, features_only=True),
    'lowformer': TimmEntry('lowformer_b0', 256, features_only=True),
    'mambaout': TimmEntry(
        'test_mambaout',
        64,
        features_only=True,
        arguments=dict(feature_cls='getter'),
    ),
    'maxxvit': TimmEntry('test_coatnet', 128, arguments=dict(img_size=64)),
    'metaformer': TimmEntry('poolformer_s12', 512),
    'mlp_mixer': TimmEntry(
        'resmlp_12_224', 384, features_only=True, arguments=dict(img_size=64)
    ),
    'mobilenetv3': TimmEntry('mobilenetv3_small_050', 288, features_only=True),
    'mobilenetv5': TimmEntry('mobilenetv5_base', 2048, size=128),
    'mobilevit': TimmEntry('mobilevit_xxs', 320),
    'mvitv2': TimmEntry(
        'mvitv2_tiny', 768, features_only=True, arguments=dict(img_size=64)
    ),
    'naflexvit': TimmEntry(
        'naflexvit_base_patch16_gap',
        48,
        features_only=True,
        arguments=dict(embed_dim=48, depth=2, num_heads=2),
    ),
    'nasnet': TimmEntry('nasnetalarge', 4032, size=96),
    'nest': TimmEntry('nest_tiny', 384, size=224),
    'nextvit': TimmEntry('nextvit_small', 1024),
    'nfnet': TimmEntry('test_nfnet', 192),
    'pit': TimmEntry('pit_ti_224', 256, size=224, features_only=True),
    'pnasnet': TimmEntry('pnasnet5large', 4320, size=96),
    'pvt_v2': TimmEntry('pvt_v2_b0', 256),
    'qwen3_vit': TimmEntry(
        'qwen3_vit_88m',
        48,
        features_only=True,
        arguments=dict(img_size=64, embed_dim=48, depth=2, num_heads=2),
    ),
    'rdnet': TimmEntry('rdnet_tiny', 1040),
    'regnet': TimmEntry('regnetx_002', 368),
    'repghost': TimmEntry('repghostnet_050', 80, features_only=True),
    'repvit': TimmEntry('repvit_m0_9', 384),
    'res2net': TimmEntry('res2net50_14w_8s', 2048),
    'resnest': TimmEntry('resnest14d', 2048),
    'resnet': TimmEntry('resnet10t', 512),
    'resnetv2': TimmEntry('resnetv2_50x1_bit', 2048),
    'rexnet': TimmEntry('rexnet_100', 1280),
    'selecsls': TimmEntry('selecsls42', 1280),
    'senet': TimmEntry('legacy_seresnet18', 512),
    'sequencer': TimmEntry(
        'sequencer2d_s',
        384,
        features_only=True,
        arguments=dict(feature_cls='getter', layers=(1, 1, 1, 1)),
    ),
    'shvit': TimmEntry('shvit_s1', 320),
    'sknet': TimmEntry('skresnet18', 512),
    'starnet': TimmEntry('starnet_s050', 128),
    'swiftformer': TimmEntry('swiftformer_xs', 220),
    'swin_transformer': TimmEntry(
        'swin_tiny_patch4_window7_224',
        192,
        features_only=True,
        arguments=dict(
            feature_cls='getter',
            img_size=64,
            depths=(1, 1, 1, 1),
            embed_dim=24,
        ),
    ),
    'swin_transformer_v2': TimmEntry(
        'swinv2_tiny_window8_256',
        192,
        features_only=True,
        arguments=dict(
            feature_cls='getter',
            img_size=64,
            depths=(1, 1, 1, 1),
            embed_dim=24,
        ),
    ),
    'swin_transformer_v2_cr': TimmEntry(
        'swinv2_cr_tiny_224',
        192,
        arguments=dict(img_size=64, depths=(1, 1, 1, 1), embed_dim=24),
    ),
    'tiny_vit': TimmEntry('tiny_vit_5m_224', 320, size=224),
    'tnt': TimmEntry(
        'tnt_s_patch16_224',
        384,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
    'tresnet': TimmEntry('tresnet_m', 2048, built_for_2c=True),
    'twins': TimmEntry(
        'twins_pcpvt_small',
        512,
        features_only=True,
        arguments=dict(img_size=64),
    ),
    'vgg': TimmEntry('vgg11', 512, features_only=True),
    'visformer': TimmEntry('visformer_tiny', 384, arguments=dict(img_size=64)),
    'vision_transformer': TimmEntry(
        'test_vit', 64, features_only=True, arguments=dict(img_size=64)
    ),
    'vision_transformer_hybrid': TimmEntry(
        'vit_tiny_r_s16_p8_224',
        192,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
    'vision_transformer_relpos': TimmEntry(
        'test_vit_relpos', 96, features_only=True, arguments=dict(img_size=64)
    ),
    'vision_transformer_sam': TimmEntry(
        'samvit_base_patch16_224',
        48,
        arguments=dict(img_size=64, embed_dim=48, depth=2, num_heads=2),
    ),
    'vitamin': TimmEntry(
        'vitamin_small_224',
        384,
        features_only=True,
        arguments=dict(img_size=64),
    ),
    'volo': TimmEntry(
        'volo_d1_224', 384, features_only=True, arguments=dict(img_size=64)
    ),
    'vovnet': TimmEntry('ese_vovnet19b_slim_dw', 512),
    'xception': TimmEntry('legacy_xception', 2048, size=96),
    'xception_aligned': TimmEntry('xception41', 2048),
    'xcit': TimmEntry(
        'xcit_nano_12_p8_224',
        128,
        features_only=True,
        arguments=dict(img_size=64, depth=2),
    ),
}
