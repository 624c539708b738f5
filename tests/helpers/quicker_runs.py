"""Leave out what takes most of a run of a second, and is not its matter."""

import functools
import gc

import mmengine.config.config as config
import mmengine.config.utils as config_utils
import torch.utils.data._utils as data_utils
from yapf.yapflib import yapf_api


def quicken_configs() -> None:
    """Leave configs unformatted, and read an installed package's list once.

    A run formats its config five times; each config with a ``_base_`` in
    MMPretrain reads 170 files to look that up.
    """
    for module in (yapf_api, config):  # which one depends on the version
        module.FormatCode = lambda text, **_: (text, True)
    config_utils.load = functools.cache(config_utils.load)


def quicken_workers() -> None:
    """Don't wait for workers that are told to end by a queue that is gone.

    So it is where garbage collection ends a loader's iterator.
    """
    data_utils.MP_STATUS_CHECK_INTERVAL = 0.2  # rather than 5 s


def quicken_datasets() -> None:
    """Spare what is imported from the garbage collection of each dataset."""
    gc.collect()
    gc.freeze()
