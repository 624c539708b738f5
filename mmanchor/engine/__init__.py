"""Training and testing: launching runs, and hooks for MMEngine's runner."""

from .hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from .hooks.batch_image_hook import BatchImageHook
from .hooks.channels_last_hook import ChannelsLastHook
from .hooks.frozen_backbone_hook import FrozenBackboneHook
from .hooks.k_reference_hook import KReferenceHook
from .hooks.perturb_reference_weights_hook import PerturbReferenceWeightsHook
from .hooks.reproducible_run_hook import ReproducibleRunHook
from .hooks.stem_distance_hook import StemDistanceHook
from .hooks.stop_on_signal_hook import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook',
    'BatchImageHook',
    'ChannelsLastHook',
    'FrozenBackboneHook',
    'KReferenceHook',
    'PerturbReferenceWeightsHook',
    'ReproducibleRunHook',
    'StemDistanceHook',
    'StopOnSignalHook',
]
