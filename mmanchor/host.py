"""Which MMPretrain this package runs on, and what to say when it is not there.

Upstream and the maintained fork share the import name ``mmpretrain``, so the
host can't be a plain requirement: it is checked here instead.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module

TESTED = {
    '1.3.6': 'the maintained fork, recommended: onedl-mmpretrain==1.3.6 '
    'onedl-mmengine==0.10.12 onedl-mmcv==2.3.6',
    '1.2.0': 'upstream: mmpretrain==1.2.0 mmengine==0.10.7 mmcv-lite==2.2.0 '
    '"setuptools<81"',
}

OLDEST = '1.2.0'
# older ones can't be told which functions a checkpoint may name, and load
# files that run code although `weights_only` is set (CVE-2025-32434)
OLDEST_TORCH = '2.6'


def require_host() -> None:
    """Import MMPretrain or say what to install.

    Raises:
        ImportError: MMPretrain is missing, can't be imported, or is older
            than 1.2, whose models and datasets work otherwise; or PyTorch is
            older than 2.6.

    Warns:
        UserWarning: mmanchor was not tested on this version.
    """
    install = (
        '`pip install` one of the tested sets, after uninstalling the '
        f'other, since they share import names: {TESTED["1.3.6"]}; or '
        f'{TESTED["1.2.0"]}.'
    )
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result
            host = import_module('mmpretrain')
    except Exception as error:  # torchvision raises RuntimeError, say
        raise ImportError(
            'mmanchor needs MMPretrain, but importing it '
            f'failed: {error}. {install}'
        ) from error
    version = host.__version__
    # these come with the host
    import torch
    from mmengine.utils import digit_version

    if digit_version(version) < digit_version(OLDEST):
        raise ImportError(
            f'Expected MMPretrain {OLDEST} or newer, but got '
            f'{version}. {install}'
        )
    if digit_version(torch.__version__) < digit_version(OLDEST_TORCH):
        raise ImportError(
            f'Expected PyTorch {OLDEST_TORCH} or newer, which loads '
            f'checkpoints without running their code, but got '
            f'{torch.__version__}. Upgrade `torch` and `torchvision`.'
        )
    if version not in TESTED:
        warnings.warn(
            f'mmanchor was tested on MMPretrain {" and ".join(TESTED)}, and '
            f'not on {version}. If something fails: {install}',
            stacklevel=2,
        )


@contextmanager
def imported_quietly() -> Iterator[None]:
    """Keep what the host says at import out of the way.

    What it prints, on parts that are not installed, goes to stderr: stdout
    belongs to the program that imports mmanchor. A warning of a part that
    nothing here needs is dropped.

    Filters that libraries set as they are imported stay, as they would not
    with ``warnings.catch_warnings``.
    """
    warnings.filterwarnings(
        'ignore', message='.*MultiScaleDeformableAttention'
    )
    ours = warnings.filters[0]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        warnings.filters[:] = [f for f in warnings.filters if f is not ours]
