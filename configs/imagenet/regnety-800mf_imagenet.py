"""RegNetY-800MF on ImageNet-1K, standard training, 100 epochs.

Published (marks: docs/recipes.md): top-1 21.0 % on ImageNet-C, 26.7 % on -C̄,
33.0 % on -R, 22.3 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh configs/imagenet/regnety-800mf_imagenet.py 8
"""

_base_ = [
    '../_base_/models/regnety-800mf.py',
    'mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py',
    '../_base_/schedules/imagenet_regnet_100e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=128)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
