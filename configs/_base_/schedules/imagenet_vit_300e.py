"""torchvision's for ViT-B/16: AdamW on 8 x 512 images, averaged weights."""

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.3),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.033, end=30),
    dict(type='CosineAnnealingLR', begin=30, end=300),
]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=4096)
# torchvision's decay of 0.99998, which it scales by what it sees of an epoch
custom_hooks = [
    dict(
        type='EMAHook',
        momentum=2e-5 * 4096 * 32 / 300,
        interval=32,
        begin_epoch=30,
    ),
]
