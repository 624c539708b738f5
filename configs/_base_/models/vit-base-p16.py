"""MMPretrain's ViT-B/16 with torchvision's smoothing, Mixup and CutMix."""

_base_ = 'mmpretrain::_base_/models/vit-base-p16.py'
model = dict(
    backbone=dict(drop_rate=0),
    head=dict(loss=dict(label_smooth_val=0.11, mode='original')),
    train_cfg=dict(
        augments=[
            dict(type='Mixup', alpha=0.2),
            dict(type='CutMix', alpha=1.0),
        ]
    ),
)
