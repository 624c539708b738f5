"""scikit-learn's handwritten digits, 16x16 px, ten classes, no download."""

data_preprocessor = dict(
    num_classes=10, mean=[80.0] * 3, std=[95.0] * 3, to_rgb=False
)

train_pipeline = [
    dict(type='Resize', scale=16, interpolation='bicubic'),
    dict(type='RandomCrop', crop_size=16, padding=2),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='Resize', scale=16, interpolation='bicubic'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type='Digits', split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type='Digits', split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='CalibrationError'),
]
test_evaluator = val_evaluator
