"""The same, anchored with reference masking."""
_base_ = './resnet18-w16_cifar10-folders.py'
model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=10)]
