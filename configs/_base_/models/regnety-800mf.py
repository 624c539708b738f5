"""torchvision's RegNetY-800MF, 6.4 million parameters."""

model = dict(
    type='ImageClassifier',
    backbone=dict(type='RegNetY', arch='800mf'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=784,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
