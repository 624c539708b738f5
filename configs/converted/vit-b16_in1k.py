"""torchvision's vit_b_16: its pixels and test images, not the host's.

For plain weights that tools/convert_checkpoint.py converted:
    python tools/test.py configs/converted/vit-b16_in1k.py plain.pth
"""

_base_ = [
    'mmpretrain::_base_/models/vit-base-p16.py',
    'mmpretrain::_base_/datasets/imagenet_bs64.py',
    'mmpretrain::_base_/schedules/imagenet_bs4096_AdamW.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
model = dict(backbone=dict(drop_rate=0.0))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
