r"""5,000 images of CIFAR-10, which a small network nearly fits: for CPUs.

The first 500 training images of each class by name, as JPEG in class folders.
The standard model of seed 0 ends with 93 % of its training images right, and
with 72 % of the test images (commit b1ae3c6, one thread). KEY is the folder
that the first command writes; without --cfg-options, the second command tests
on the test images.
    python tools/study.py evidence --on cifar10-5k --only standard --seeds 0 \
        --work-dir DIR
    python tools/test.py DIR/trained/KEY/config.py \
        DIR/trained/KEY/epoch_40.pth --cfg-options \
        test_dataloader.dataset.type=FirstOfEachClass \
        test_dataloader.dataset.images_per_class=500 \
        test_dataloader.dataset.data_root=data/cifar10/train
"""

title = 'CIFAR-10 (JPEG, 5,000 images), ResNet-18 of width 16, 40 epochs'
_fitted = {
    'train_dataloader.dataset.type': 'FirstOfEachClass',
    'train_dataloader.dataset.images_per_class': 500,
    # with batches of 128 and a learning rate of 0.1, the same model ends with
    # only 85 % of its training images right
    'train_dataloader.batch_size': 64,
    'optim_wrapper.optimizer.lr': 0.2,
    'auto_scale_lr.base_batch_size': 64,
    # on one core a worker would take turns with training
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    # a last batch of 8 would move running statistics by chance
    'train_dataloader.drop_last': True,
    'default_hooks.channels_last': dict(type='ChannelsLastHook'),
    'train_cfg.max_epochs': 40,
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': 40,
    'default_hooks.checkpoint.interval': 5,
}
_masked = 'cifar10/resnet18-w16_anchored-masked_cifar10-folders.py'
configs = dict(
    standard=dict(
        config='cifar10/resnet18-w16_cifar10-folders.py', options=_fitted
    ),
    anchored=dict(
        config=_masked, options={**_fitted, 'data_preprocessor.mask_prob': 0.0}
    ),
    masked=dict(config=_masked, options=_fitted),
)
suite = 'cifar10-folders-2k'
shifted = 'corrupted'
