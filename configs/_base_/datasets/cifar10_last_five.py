"""Five classes of CIFAR-10 in class folders, 1,000 training images of each."""

_base_ = './cifar10_first_five.py'
_folders = ['dog', 'frog', 'horse', 'ship', 'truck']
train_dataloader = dict(dataset=dict(images_per_class=1000, folders=_folders))
val_dataloader = dict(dataset=dict(folders=_folders))
test_dataloader = val_dataloader
