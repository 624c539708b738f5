"""SwinV2-S on ImageNet-1K, anchored with masking, 300 epochs.

Published (marks: docs/recipes.md): top-1 44.4 % on ImageNet-C, 58.3 % on -C̄,
46.6 % on -R, 33.3 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/swinv2-small_anchored-masked_imagenet.py 8 --amp
"""

_base_ = './swinv2-small_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
