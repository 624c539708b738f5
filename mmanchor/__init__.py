"""Anchored training for image classifiers of MMPretrain.

Importing the package registers everything it adds with MMPretrain.
"""

from .host import imported_quietly, require_host
from .version import __version__

require_host()

# need the host, hence not above
with imported_quietly():
    from . import datasets, engine, evaluation, functional, models
    from .checkpoints.safe_loading import allow_mmengine_checkpoints
    from .models import fold_reference
    from .registry import MASKED_TARGETS, PROTOCOLS, UNCERTAINTIES
    from .utils.config import CONFIG_DIR

allow_mmengine_checkpoints()

__all__ = [
    'CONFIG_DIR',
    'MASKED_TARGETS',
    'PROTOCOLS',
    'UNCERTAINTIES',
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'fold_reference',
    'functional',
    'models',
]
