"""A ViT of one layer and width 16: a model that costs next to nothing.

For what a test loop takes besides the model, with random weights:
    python tools/benchmark_suite.py \
        configs/benchmarks/vit-w16_cifar10-folders.py --suite cifar10-folders
"""

_base_ = [
    '../_base_/datasets/cifar10_folders.py',
    '../_base_/schedules/cifar10_short.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=16, num_layers=1, num_heads=1, feedforward_channels=16
        ),
        img_size=32,
        patch_size=16,
    ),
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=16),
)
