"""Leave out what takes most of a run of a second, and is not its matter."""

import functools
from types import SimpleNamespace

import mmengine.config.config as config
import mmengine.config.utils as config_utils
import sklearn.datasets
import torch.utils.data._utils as data_utils
from mmengine.dataset import base_dataset
from mmengine.runner import runner
from yapf.yapflib import yapf_api


def quicken_configs() -> None:
    """Leave configs unformatted, and read an installed package's list once.

    A run formats its config five times; each config with a ``_base_`` in
    MMPretrain reads 170 files to look that up.
    """
    for module in (yapf_api, config):  # which one depends on the version
        module.FormatCode = lambda text, **_: (text, True)
    config_utils.load = functools.cache(config_utils.load)


def quicken_logs() -> None:
    """Ask the system once what each run logs about it."""
    runner.collect_env = functools.cache(runner.collect_env)


def quicken_workers() -> None:
    """Don't wait for workers that are told to end by a queue that is gone.

    So it is where garbage collection ends a loader's iterator.
    """
    data_utils.MP_STATUS_CHECK_INTERVAL = 0.2  # rather than 5 s


def quicken_datasets() -> None:
    """Read the bundled images once, and leave garbage where it is.

    MMEngine collects the garbage of the whole process for each dataset.
    """
    for name in ('load_digits', 'load_sample_images'):
        load = functools.cache(getattr(sklearn.datasets, name))
        setattr(sklearn.datasets, name, load)
    base_dataset.gc = SimpleNamespace(collect=lambda: 0)
