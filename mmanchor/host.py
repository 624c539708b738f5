"""Which MMPretrain this package runs on, and what to say when it is not there.

Upstream and the maintained fork share the import name ``mmpretrain``, so the
host can't be a plain requirement: it is checked here instead.
"""
import re
from importlib import import_module

# upstream 1.2.0; the fork from 1.3.6 on, within 1.3
TESTED = re.compile(r'1\.2\.0|1\.3\.([6-9]|[1-9]\d+)')

_INSTALL = (
    'Install one of the two tested hosts: the maintained fork with '
    '`pip install "mmanchor[host]"` (recommended), or upstream MMPretrain '
    'with `pip install "mmanchor[upstream]"`. They share import names: '
    'uninstall the one you have first.')


def is_tested(version: str) -> bool:
    """Whether mmanchor is tested on this version of MMPretrain.

    Tested are upstream 1.2.0 and the fork from 1.3.6 on, within 1.3.

    Example:
        >>> is_tested('1.2.0'), is_tested('1.3.6'), is_tested('1.1.0')
        (True, True, False)
    """
    return TESTED.fullmatch(version) is not None


def require_host() -> None:
    """Import MMPretrain or say what to install.

    Raises:
        ImportError: MMPretrain is missing, can't be imported, or has a
            version mmanchor was not tested on.
    """
    try:
        host = import_module('mmpretrain')
    except (ImportError, AssertionError) as error:
        raise ImportError('mmanchor needs MMPretrain, but importing it '
                          f'failed: {error}. {_INSTALL}') from error
    if not is_tested(host.__version__):
        raise ImportError(
            'Expected MMPretrain 1.2.0 (upstream) or 1.3.6 and later within '
            f'1.3 (the fork), but got {host.__version__}. {_INSTALL}')
