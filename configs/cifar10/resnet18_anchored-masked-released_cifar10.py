"""ResNet-18 on CIFAR-10, masked as in the authors' code, 200 epochs.

Masked batches have their true labels and move running statistics; references
are training images through the test transform (docs/recipes.md says what
differs). The paper has no figure for this one. Not run here yet:
    python tools/train.py \
        configs/cifar10/resnet18_anchored-masked-released_cifar10.py
"""

_base_ = './resnet18_anchored-masked_cifar10.py'
model = dict(head=dict(masked_target='label'), masked_norm_stats='update')
data_preprocessor = dict(
    mask_coin='rank', references=dict(type='ReferenceSet')
)
