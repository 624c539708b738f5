"""A small config for each backbone in MMPretrain's supervised configs."""

from dataclasses import dataclass
from pathlib import Path

import mmpretrain

HOST_CONFIGS = Path(mmpretrain.__file__).parent / '.mim' / 'configs'


@dataclass
class MatrixEntry:
    """A small config for a backbone.

    Attributes:
        config (str): Path relative to MMPretrain's configs.
        size (int, optional): Height and width of the images, to save time
            where the backbone accepts any. None: the config's size.
        options (dict, optional): Changes to the config.
    """

    config: str
    size: int | None = None
    options: dict | None = None


_CONFIGS = {
    'BEiTViT': 'beit/benchmarks/beit-base-p16_8xb128-coslr-100e_in1k.py',
    'CSPDarkNet': 'cspnet/cspdarknet50_8xb32_in1k.py',
    'CSPResNeXt': 'cspnet/cspresnext50_8xb32_in1k.py',
    'CSPResNet': 'cspnet/cspresnet50_8xb32_in1k.py',
    'Conformer': 'conformer/conformer-tiny-p16_8xb128_in1k.py',
    'ConvMixer': 'convmixer/convmixer-768-32_10xb64_in1k.py',
    'ConvNeXt': 'convnext_v2/convnext-v2-atto_32xb32_in1k.py',
    'DaViT': 'davit/davit-tiny_4xb256_in1k.py',
    'DeiT3': 'deit3/deit3-small-p16_64xb64_in1k.py',
    'DenseNet': 'densenet/densenet121_4xb256_in1k.py',
    'DistilledVisionTransformer': 'deit/deit-tiny-distilled_4xb256_in1k.py',
    'EdgeNeXt': 'edgenext/edgenext-xxsmall_8xb256_in1k.py',
    'EfficientFormer': 'efficientformer/efficientformer-l1_8xb128_in1k.py',
    'EfficientNet': 'efficientnet/efficientnet-b0_8xb32-01norm_in1k.py',
    'EfficientNetV2': 'efficientnet_v2/efficientnetv2-b0_8xb32_in1k.py',
    'HRNet': 'hrnet/hrnet-w18_4xb32_in1k.py',
    'HiViT': 'hivit/hivit-tiny-p16_16xb64_in1k.py',
    'HorNet': 'hornet/hornet-tiny_8xb128_in1k.py',
    'InceptionV3': 'inception_v3/inception-v3_8xb32_in1k.py',
    'LeViT': 'levit/levit-128s_8xb256_in1k.py',
    'MViT': 'mvit/mvitv2-tiny_8xb256_in1k.py',
    'MixMIMTransformer': (
        'mixmim/benchmarks/mixmim-base_8xb128-coslr-100e_in1k.py'
    ),
    'MlpMixer': 'mlp_mixer/mlp-mixer-base-p16_64xb64_in1k.py',
    'MoCoV3ViT': (
        'mocov3/benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k.py'
    ),
    'MobileNetV2': 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
    'MobileNetV3': 'mobilenet_v3/mobilenet-v3-small-050_8xb128_in1k.py',
    'MobileOne': 'mobileone/mobileone-s1_8xb32_in1k.py',
    'MobileViT': 'mobilevit/mobilevit-xxsmall_8xb128_in1k.py',
    'PCPVT': 'twins/twins-pcpvt-small_8xb128_in1k.py',
    'PoolFormer': 'poolformer/poolformer-s12_32xb128_in1k.py',
    'PyramidVig': 'vig/pvig-tiny_8xb128_in1k.py',
    'RIFormer': 'riformer/riformer-s12_8xb128_in1k.py',
    'RegNet': 'regnet/regnetx-400mf_8xb128_in1k.py',
    'RepLKNet': 'replknet/replknet-31L_32xb64_in1k-384px.py',
    'RepMLPNet': 'repmlp/repmlp-base_8xb64_in1k.py',
    'RepVGG': 'repvgg/repvgg-A0_8xb32_in1k.py',
    'Res2Net': 'res2net/res2net50-w14-s8_8xb32_in1k.py',
    'ResNeXt': 'resnext/resnext50-32x4d_8xb32_in1k.py',
    'ResNet': 'resnet/resnet18_8xb32_in1k.py',
    'ResNetV1c': 'resnet/resnetv1c50_8xb32_in1k.py',
    'ResNetV1d': 'resnet/resnetv1d50_8xb32_in1k.py',
    'ResNet_CIFAR': 'resnet/resnet18_8xb16_cifar10.py',
    'RevVisionTransformer': 'revvit/revvit-small_8xb256_in1k.py',
    'SEResNet': 'seresnet/seresnet50_8xb32_in1k.py',
    'SVT': 'twins/twins-svt-small_8xb128_in1k.py',
    'ShuffleNetV1': 'shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py',
    'ShuffleNetV2': 'shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
    'SwinTransformer': 'swin_transformer/swin-tiny_16xb64_in1k.py',
    'SwinTransformerV2': (
        'swin_transformer_v2/swinv2-tiny-w16_16xb64_in1k-256px.py'
    ),
    'T2T_ViT': 't2t_vit/t2t-vit-t-14_8xb64_in1k.py',
    'TNT': 'tnt/tnt-s-p16_16xb64_in1k.py',
    'TinyViT': 'tinyvit/tinyvit-5m-distill_8xb256_in1k.py',
    'VAN': 'van/van-tiny_8xb128_in1k.py',
    'VGG': 'vgg/vgg11_8xb32_in1k.py',
    'ViTEVA02': 'eva02/eva02-tiny-p14_in1k.py',
    'Vig': 'vig/vig-tiny_8xb128_in1k.py',
    'VisionTransformer': 'deit/deit-tiny_4xb256_in1k.py',
    'XCiT': 'xcit/xcit-nano-12-p8_8xb128_in1k-384px.py',
}
_SIZES = dict(ConvMixer=64, RepLKNet=64)
# MMPretrain cannot train a distilled head.
_OPTIONS = dict.fromkeys(
    ('EfficientFormer', 'LeViT'), {'model.head.distillation': False}
)
MATRIX = {
    name: MatrixEntry(config, _SIZES.get(name), _OPTIONS.get(name))
    for name, config in _CONFIGS.items()
}
