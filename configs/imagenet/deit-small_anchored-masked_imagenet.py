"""DeiT-S on ImageNet-1K, anchored with masking, 300 epochs.

Published (marks: docs/recipes.md): top-1 40.7 % on ImageNet-C, 51.7 % on -C̄,
42.2 % on -R, 29.2 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/deit-small_anchored-masked_imagenet.py 4
"""

_base_ = './deit-small_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
