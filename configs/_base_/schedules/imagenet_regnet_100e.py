"""torchvision's for small RegNets: SGD on 8 x 128 images."""

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.8, momentum=0.9, weight_decay=5e-5)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=5),
    dict(type='CosineAnnealingLR', begin=5, end=100),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
