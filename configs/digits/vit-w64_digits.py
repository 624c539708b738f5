"""A ViT of four layers and width 64 on the digits, standard training.

It has no BatchNorm, whose statistics can give masked batches away.
Expect about 98.7 % on the 500 test images (three seeds):
    python tools/train.py configs/digits/vit-w64_digits.py
"""

_base_ = [
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_adamw.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=128
        ),
        img_size=16,
        patch_size=4,
    ),
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=64),
)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=25, max_keep_ckpts=2)
)
