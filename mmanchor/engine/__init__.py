"""Hooks and launching."""
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .channels_last_hook import ChannelsLastHook
from .k_reference_hook import KReferenceHook
from .reproducible_run_hook import ReproducibleRunHook
from .stem_distance_hook import StemDistanceHook
from .stop_on_signal_hook import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook', 'ChannelsLastHook', 'KReferenceHook',
    'ReproducibleRunHook', 'StemDistanceHook', 'StopOnSignalHook'
]
