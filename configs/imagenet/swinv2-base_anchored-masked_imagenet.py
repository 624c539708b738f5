"""SwinV2-B on ImageNet-1K, anchored with masking, 300 epochs.

Published (marks: docs/recipes.md): top-1 84.09 % clean [R]; 45.2 % on
ImageNet-C, 58.8 % on -C̄, 48.16 % on -R, 33.34 % on Sketch [F]. Not run here
yet:
    tools/dist_train.sh \
        configs/imagenet/swinv2-base_anchored-masked_imagenet.py 8 --amp
"""

_base_ = './swinv2-base_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
