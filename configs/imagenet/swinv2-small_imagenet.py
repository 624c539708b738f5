"""SwinV2-S on ImageNet-1K, standard training, 300 epochs.

Published (marks: docs/recipes.md): top-1 42.9 % on ImageNet-C, 53.7 % on -C̄,
45.2 % on -R, 32.2 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh configs/imagenet/swinv2-small_imagenet.py 8 --amp
"""

_base_ = [
    'mmpretrain::_base_/models/swin_transformer_v2/small_256.py',
    '../_base_/datasets/imagenet_256_trivialaugment.py',
    '../_base_/schedules/imagenet_swinv2_300e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
