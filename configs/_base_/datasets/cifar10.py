"""CIFAR-10 as published: data/cifar10/cifar-10-batches-py/."""

_base_ = 'mmpretrain::_base_/datasets/cifar10_bs16.py'
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=250)
test_dataloader = dict(batch_size=250)
