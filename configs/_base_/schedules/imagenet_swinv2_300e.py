"""torchvision's for SwinV2: AdamW on 8 x 128 images, averaged weights."""

_base_ = 'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py'
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=20),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=20, end=300),
]
# torchvision's decay of 0.99998, which it scales by what it sees of an epoch
custom_hooks = [
    dict(
        type='EMAHook',
        momentum=2e-5 * 1024 * 32 / 300,
        interval=32,
        begin_epoch=20,
    ),
]
