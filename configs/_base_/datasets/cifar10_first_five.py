"""Five classes of CIFAR-10 in class folders, 500 training images of each.

The other five are in `cifar10_last_five.py`.
"""

_base_ = './cifar10_folders.py'
_folders = ['airplane', 'automobile', 'bird', 'cat', 'deer']
data_preprocessor = dict(num_classes=5)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='FirstOfEachClass', images_per_class=500, folders=_folders
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='FirstOfEachClass', images_per_class=1000, folders=_folders
    ),
)
test_dataloader = val_dataloader
