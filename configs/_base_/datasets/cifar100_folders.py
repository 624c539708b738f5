"""CIFAR-100 as images in class folders: data/cifar100/{train,test}/CLASS/."""

_base_ = './cifar10_folders.py'
data_preprocessor = dict(
    num_classes=100,
    mean=[129.304, 124.070, 112.434],  # of R, G, B
    std=[68.170, 65.392, 70.418],
)
train_dataloader = dict(dataset=dict(data_root='data/cifar100/train'))
val_dataloader = dict(dataset=dict(data_root='data/cifar100/test'))
test_dataloader = dict(dataset=dict(data_root='data/cifar100/test'))
