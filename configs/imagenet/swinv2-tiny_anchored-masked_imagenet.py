"""SwinV2-T on ImageNet-1K, anchored with masking, 300 epochs.

Published (marks: docs/recipes.md): top-1 38.6 % on ImageNet-C, 51.8 % on -C̄,
41.2 % on -R, 27.7 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/swinv2-tiny_anchored-masked_imagenet.py 8 --amp
"""

_base_ = './swinv2-tiny_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
