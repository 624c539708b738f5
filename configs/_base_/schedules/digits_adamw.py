"""AdamW, 100 epochs: a minute or two on two cores, for transformers."""

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', begin=2, end=100, convert_to_iter_based=True
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=25)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
