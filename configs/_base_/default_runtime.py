"""MMPretrain's, and runs that can be repeated and interrupted."""

_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook'),
    reproducible=dict(type='ReproducibleRunHook'),
)
randomness = dict(seed=0)
