"""WRN-40-2 for 32 px, 2.2 million parameters."""

model = dict(
    type='ImageClassifier',
    backbone=dict(type='WideResNet_CIFAR', depth=40, widen_factor=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=128,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
