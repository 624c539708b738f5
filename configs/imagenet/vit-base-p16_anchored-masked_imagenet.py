"""ViT-B/16 on ImageNet-1K, anchored with masking, 300 epochs.

Published (marks: docs/recipes.md): top-1 44.5 % on ImageNet-C, 54.9 % on -C̄,
46.4 % on -R, 33.0 % on Sketch [F], and clean about 0.3 below the standard
model [F]. Not run here yet:
    tools/dist_train.sh \
        configs/imagenet/vit-base-p16_anchored-masked_imagenet.py 8 --amp
"""

_base_ = './vit-base-p16_anchored_imagenet.py'
data_preprocessor = dict(mask_prob=0.2)
