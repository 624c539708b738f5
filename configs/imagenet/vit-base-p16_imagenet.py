"""ViT-B/16 on ImageNet-1K, standard training, 300 epochs.

Published (marks: docs/recipes.md): top-1 41.1 % on ImageNet-C, 50.1 % on -C̄,
44.1 % on -R, 29.4 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh configs/imagenet/vit-base-p16_imagenet.py 8 --amp
"""

_base_ = [
    '../_base_/models/vit-base-p16.py',
    '../_base_/datasets/imagenet_224_randaugment.py',
    '../_base_/schedules/imagenet_vit_300e.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
