"""DeiT-S on ImageNet-1K, standard training, 300 epochs.

Published (marks: docs/recipes.md): top-1 38.4 % on ImageNet-C, 48.7 % on -C̄,
41.9 % on -R, 29.1 % on Sketch [F]. Not run here yet:
    tools/dist_train.sh configs/imagenet/deit-small_imagenet.py 4
"""

_base_ = 'mmpretrain::deit/deit-small_4xb256_in1k.py'
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
# a base of its own can't be added to one that has a runtime
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook', max_keep_ckpts=2),
    reproducible=dict(type='ReproducibleRunHook'),
)
randomness = dict(seed=0)
