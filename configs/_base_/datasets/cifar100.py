"""CIFAR-100 as published: data/cifar100/cifar-100-python/."""

_base_ = 'mmpretrain::_base_/datasets/cifar100_bs16.py'
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=250)
test_dataloader = dict(batch_size=250)
