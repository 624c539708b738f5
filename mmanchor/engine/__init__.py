"""Hooks and launching."""
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .k_reference_hook import KReferenceHook
from .reproducible_run_hook import ReproducibleRunHook
from .stop_on_signal_hook import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook', 'KReferenceHook', 'ReproducibleRunHook',
    'StopOnSignalHook'
]
