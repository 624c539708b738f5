"""Builds the plain and the anchored form of a config, to compare them."""

import logging
import random
import tempfile
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, set_random_seed
from mmpretrain.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.plain_config import drop_pretrained, take_off
from ..utils.config import config_path, own_imports, read_config, type_name

FOUR_LINES = """
_base_ = '{base}'
custom_imports = dict(imports={imports}, allow_failed_imports=False)

model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
"""
_ANCHORED = 'AnchoredImageClassifier'


def plain_and_anchored(
    path: str | Path, options: dict | None = None
) -> tuple[Config | None, Config]:
    """Read a config in its plain and its anchored form.

    Both come without pretrained files. A plain config is anchored by the
    README's four lines; an anchored one loses everything that is mmanchor's.
    The plain one is None if the backbone was built for 2C channels by hand.

    Args:
        path (str | Path): A config file, or ``mmpretrain::`` and the path of
            one of MMPretrain's.
        options (dict, optional): Changes to the config. Defaults to None.

    Raises:
        ValueError: The config has no ``ImageClassifier`` to anchor.
    """
    if '::' in str(path):
        path = get_config(str(path)).filename
    path = config_path(path)
    cfg = read_config(path, options)
    kind = type_name(cfg.model) if 'model' in cfg else None
    if kind == _ANCHORED:
        built_for_2c = cfg.model.get('stem') == []
        plain = None if built_for_2c else take_off(cfg)
        anchored = cfg
    elif kind == 'ImageClassifier':
        plain, anchored = cfg, _add_four_lines(path, cfg)
        anchored.merge_from_dict(options or {})
    else:
        raise ValueError(
            'Expected `model` to be an ImageClassifier or an '
            f'AnchoredImageClassifier, but {path} has {kind}. Name another '
            'config.'
        )
    for each in filter(None, (plain, anchored)):
        drop_pretrained(each.model)
    return plain, anchored


def image_size(cfg: Config) -> int | tuple[int, int]:
    """Read the size of a config's test images, or else of its training crops.

    The size is in pixels; 224 if the config has none.
    """
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        for transform in reversed(dataset.get('pipeline') or []):
            for key in ('crop_size', 'scale'):
                if key in transform:
                    return transform[key]
    return 224


def _add_four_lines(path, cfg) -> Config:
    base = Path(path).resolve().as_posix()
    imports = [*own_imports(cfg), 'mmanchor']
    lines = FOUR_LINES.format(base=base, imports=imports)
    try:
        with tempfile.TemporaryDirectory() as folder:
            anchored = Path(folder) / 'anchored.py'
            anchored.write_text(lines, encoding='utf-8')
            return Config.fromfile(anchored)
    except RuntimeError:  # A new-style config has no `_base_`.
        anchored = Config(cfg.to_dict())
        anchored.merge_from_dict(dict(model=dict(type=_ANCHORED)))
        anchored.data_preprocessor = {
            **(anchored.get('data_preprocessor') or {}),
            'type': 'AnchoringDataPreprocessor',
            'mask_prob': 0.25,
        }
        return anchored


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config with its data preprocessor."""
    model = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model)


def build_optim_wrapper(model, cfg: Config, lr_scale: float) -> OptimWrapper:
    """Build the config's optimizer in full precision, without sharding."""
    optim_wrapper = dict(
        cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=0.01))
    )
    optim_wrapper['type'] = 'OptimWrapper'
    optimizer = optim_wrapper['optimizer'] = dict(optim_wrapper['optimizer'])
    if 'lr' in optimizer:
        optimizer['lr'] *= lr_scale
    for key in ('loss_scale', 'dtype', 'use_fsdp', 'accumulative_counts'):
        optim_wrapper.pop(key, None)
    return Runner.build_optim_wrapper(
        SimpleNamespace(model=model), optim_wrapper
    )


@contextmanager
def fixed_seed(seed: int = 0):
    """Seed all generators, and restore their states afterwards."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            set_random_seed(seed)
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextmanager
def silenced_log():
    """Silence MMPretrain's log, which repeats itself for every model."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def perturb_parameters(model: nn.Module) -> None:
    """Perturb fresh parameters: constant weights would hide a wiring error."""
    for parameter in model.parameters():
        if parameter.numel() > 1 and parameter.min() == parameter.max():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for parameter in model.head.parameters() if model.with_head else ():
        parameter.normal_(0, 0.02)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
