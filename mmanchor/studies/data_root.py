"""Configs that look for their data somewhere else."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

_FOLDERS = ('data_root', 'mixing_set')


def with_data_root(config: Any, data_root: str) -> Any:
    """A copy that looks for data in another folder than ``data``.

    Example:
        >>> with_data_root(dict(data_root='data/cifar10/train'), '/disk')
        {'data_root': '/disk/cifar10/train'}
    """
    if isinstance(config, Config):
        found = with_data_root(config.to_dict(), data_root)
        return Config(found, filename=config.filename)
    if isinstance(config, dict):
        return {
            key: _moved(value, data_root)
            if key in _FOLDERS
            else with_data_root(value, data_root)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [with_data_root(value, data_root) for value in config]
    return config


def _moved(path: Any, data_root: str) -> Any:
    """A path that begins with ``data``, in another folder."""
    parts = Path(path).parts if isinstance(path, str) else ()
    if parts[:1] != ('data',):
        return path
    return str(Path(data_root, *parts[1:]))
