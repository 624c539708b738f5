"""CIFAR-10 as images in class folders: data/cifar10/{train,test}/CLASS/."""

data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],  # of R, G, B
    std=[51.5865, 50.847, 51.255],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        type='CustomDataset',
        data_root='data/cifar10/train',
        pipeline=train_pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=2,
    dataset=dict(
        type='CustomDataset',
        data_root='data/cifar10/test',
        pipeline=test_pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='CalibrationError'),
]
test_evaluator = val_evaluator
