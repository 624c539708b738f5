"""RegNetY-800MF on ImageNet-1K, anchored with masking, 100 epochs.

Published (marks: docs/recipes.md): top-1 22.9 % on ImageNet-C, 32.7 % on -C̄,
33.5 % on -R, 22.3 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/regnety-800mf_anchored-masked_imagenet.py 8
"""

_base_ = './regnety-800mf_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
