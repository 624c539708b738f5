"""ResNet-18 on CIFAR-10 as folders, subtractive mixing, 200 epochs.

The control for masked batches with true labels: a plain model that sees
`x - r` in a quarter of the batches. The paper has no figure for this one. Not
run here yet:
    python tools/train.py \
        configs/cifar10/resnet18_subtractive-mix_cifar10-folders.py
"""

_base_ = './resnet18_cifar10-folders.py'
model = dict(type='SubtractiveMixImageClassifier')
data_preprocessor = dict(type='SubtractiveMixDataPreprocessor', mask_prob=0.25)
