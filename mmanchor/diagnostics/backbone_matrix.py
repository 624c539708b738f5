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


# MMPretrain cannot train a distilled head.
_NOT_DISTILLED = {'model.head.distillation': False}

MATRIX: dict[str, MatrixEntry] = {
    'BEiTViT': MatrixEntry(
        'beit/benchmarks/beit-base-p16_8xb128-coslr-100e_in1k.py'
    ),
    'CSPDarkNet': MatrixEntry('cspnet/cspdarknet50_8xb32_in1k.py'),
    'CSPResNeXt': MatrixEntry('cspnet/cspresnext50_8xb32_in1k.py'),
    'CSPResNet': MatrixEntry('cspnet/cspresnet50_8xb32_in1k.py'),
    'Conformer': MatrixEntry('conformer/conformer-tiny-p16_8xb128_in1k.py'),
    'ConvMixer': MatrixEntry(
        'convmixer/convmixer-768-32_10xb64_in1k.py', size=64
    ),
    'ConvNeXt': MatrixEntry('convnext_v2/convnext-v2-atto_32xb32_in1k.py'),
    'DaViT': MatrixEntry('davit/davit-tiny_4xb256_in1k.py'),
    'DeiT3': MatrixEntry('deit3/deit3-small-p16_64xb64_in1k.py'),
    'DenseNet': MatrixEntry('densenet/densenet121_4xb256_in1k.py'),
    'DistilledVisionTransformer': MatrixEntry(
        'deit/deit-tiny-distilled_4xb256_in1k.py'
    ),
    'EdgeNeXt': MatrixEntry('edgenext/edgenext-xxsmall_8xb256_in1k.py'),
    'EfficientFormer': MatrixEntry(
        'efficientformer/efficientformer-l1_8xb128_in1k.py',
        options=_NOT_DISTILLED,
    ),
    'EfficientNet': MatrixEntry(
        'efficientnet/efficientnet-b0_8xb32-01norm_in1k.py'
    ),
    'EfficientNetV2': MatrixEntry(
        'efficientnet_v2/efficientnetv2-b0_8xb32_in1k.py'
    ),
    'HRNet': MatrixEntry('hrnet/hrnet-w18_4xb32_in1k.py'),
    'HiViT': MatrixEntry('hivit/hivit-tiny-p16_16xb64_in1k.py'),
    'HorNet': MatrixEntry('hornet/hornet-tiny_8xb128_in1k.py'),
    'InceptionV3': MatrixEntry('inception_v3/inception-v3_8xb32_in1k.py'),
    'LeViT': MatrixEntry(
        'levit/levit-128s_8xb256_in1k.py', options=_NOT_DISTILLED
    ),
    'MViT': MatrixEntry('mvit/mvitv2-tiny_8xb256_in1k.py'),
    'MixMIMTransformer': MatrixEntry(
        'mixmim/benchmarks/mixmim-base_8xb128-coslr-100e_in1k.py'
    ),
    'MlpMixer': MatrixEntry('mlp_mixer/mlp-mixer-base-p16_64xb64_in1k.py'),
    'MoCoV3ViT': MatrixEntry(
        'mocov3/benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k.py'
    ),
    'MobileNetV2': MatrixEntry('mobilenet_v2/mobilenet-v2_8xb32_in1k.py'),
    'MobileNetV3': MatrixEntry(
        'mobilenet_v3/mobilenet-v3-small-050_8xb128_in1k.py'
    ),
    'MobileOne': MatrixEntry('mobileone/mobileone-s1_8xb32_in1k.py'),
    'MobileViT': MatrixEntry('mobilevit/mobilevit-xxsmall_8xb128_in1k.py'),
    'PCPVT': MatrixEntry('twins/twins-pcpvt-small_8xb128_in1k.py'),
    'PoolFormer': MatrixEntry('poolformer/poolformer-s12_32xb128_in1k.py'),
    'PyramidVig': MatrixEntry('vig/pvig-tiny_8xb128_in1k.py'),
    'RIFormer': MatrixEntry('riformer/riformer-s12_8xb128_in1k.py'),
    'RegNet': MatrixEntry('regnet/regnetx-400mf_8xb128_in1k.py'),
    'RepLKNet': MatrixEntry(
        'replknet/replknet-31L_32xb64_in1k-384px.py', size=64
    ),
    'RepMLPNet': MatrixEntry('repmlp/repmlp-base_8xb64_in1k.py'),
    'RepVGG': MatrixEntry('repvgg/repvgg-A0_8xb32_in1k.py'),
    'Res2Net': MatrixEntry('res2net/res2net50-w14-s8_8xb32_in1k.py'),
    'ResNeXt': MatrixEntry('resnext/resnext50-32x4d_8xb32_in1k.py'),
    'ResNet': MatrixEntry('resnet/resnet18_8xb32_in1k.py'),
    'ResNetV1c': MatrixEntry('resnet/resnetv1c50_8xb32_in1k.py'),
    'ResNetV1d': MatrixEntry('resnet/resnetv1d50_8xb32_in1k.py'),
    'ResNet_CIFAR': MatrixEntry('resnet/resnet18_8xb16_cifar10.py'),
    'RevVisionTransformer': MatrixEntry('revvit/revvit-small_8xb256_in1k.py'),
    'SEResNet': MatrixEntry('seresnet/seresnet50_8xb32_in1k.py'),
    'SVT': MatrixEntry('twins/twins-svt-small_8xb128_in1k.py'),
    'ShuffleNetV1': MatrixEntry(
        'shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py'
    ),
    'ShuffleNetV2': MatrixEntry(
        'shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py'
    ),
    'SwinTransformer': MatrixEntry(
        'swin_transformer/swin-tiny_16xb64_in1k.py'
    ),
    'SwinTransformerV2': MatrixEntry(
        'swin_transformer_v2/swinv2-tiny-w16_16xb64_in1k-256px.py'
    ),
    'T2T_ViT': MatrixEntry('t2t_vit/t2t-vit-t-14_8xb64_in1k.py'),
    'TNT': MatrixEntry('tnt/tnt-s-p16_16xb64_in1k.py'),
    'TinyViT': MatrixEntry('tinyvit/tinyvit-5m-distill_8xb256_in1k.py'),
    'VAN': MatrixEntry('van/van-tiny_8xb128_in1k.py'),
    'VGG': MatrixEntry('vgg/vgg11_8xb32_in1k.py'),
    'ViTEVA02': MatrixEntry('eva02/eva02-tiny-p14_in1k.py'),
    'Vig': MatrixEntry('vig/vig-tiny_8xb128_in1k.py'),
    'VisionTransformer': MatrixEntry('deit/deit-tiny_4xb256_in1k.py'),
    'XCiT': MatrixEntry('xcit/xcit-nano-12-p8_8xb128_in1k-384px.py'),
}
