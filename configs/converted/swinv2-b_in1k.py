"""torchvision's swin_v2_b, with its test images.

For plain weights that tools/convert_checkpoint.py converted:
    python tools/test.py configs/converted/swinv2-b_in1k.py plain.pth
"""

_base_ = './swinv2-t_in1k.py'
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1024)
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='ResizeEdge',
        scale=272,
        edge='short',
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='CenterCrop', crop_size=256),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
