"""Trained models of a study, each trained once."""

import contextlib
import copy
import functools
import gc
import hashlib
import io
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from ..engine import launch
from ..engine.resume import latest_checkpoint
from ..utils.config import CONFIG_DIR, read_config, reference_hooks, type_name
from ..utils.console import write_json
from ..utils.provenance import commit
from .data_root import with_data_root
from .overrides import override
from .spec import Ground, Setting, Study

_LEFT_OUT = ('work_dir', 'experiment_name', 'filename')
_COUNT = itertools.count()


@dataclass(frozen=True)
class Training:
    """A config and where its weights start from.

    Args:
        name (str): What to call it.
        cfg (Config): All that decides what is trained, the seed included.
        config_name (str): The file it came from.
        start (Training, optional): Whose weights it starts from. Defaults to
            None: random ones.
    """

    name: str
    cfg: Config
    config_name: str
    start: Optional['Training'] = None

    @cached_property
    def depends(self) -> dict:
        """All that decides what is trained, as JSON has it."""
        found = dict(config=plain(self.cfg))
        if self.start is not None:
            found['start'] = self.start.depends
        return found

    @cached_property
    def key(self) -> str:
        """The same for what is trained alike."""
        text = json.dumps(self.depends, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def folder(self, work_dir: Path) -> Path:
        """Where its checkpoints are."""
        return work_dir / 'trained' / self.key

    def checkpoint(self, work_dir: Path) -> str | None:
        """Of the last epoch; None before that."""
        record = self.folder(work_dir) / 'trained.json'
        try:
            path = record.with_name(
                json.loads(record.read_text(encoding='utf-8'))['file']
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged: training goes on, or ends
        return str(path) if path.is_file() else None

    def seconds(self, work_dir: Path) -> float:
        """How long training took, whichever process did it.

        With that of the model it starts from.
        """
        record = json.loads(
            (self.folder(work_dir) / 'trained.json').read_text(
                encoding='utf-8'
            )
        )
        before = self.start.seconds(work_dir) if self.start else 0.0
        return round(record['seconds'] + before, 1)

    def train(
        self, work_dir: Path, data_root: str, report: Callable[[float], None]
    ) -> str:
        """Train, from where it was stopped, the way ``tools/train.py`` does.

        Args:
            work_dir (Path): Of the study.
            data_root (str): Where data sets are.
            report (Callable): Told how much is done, from 0 to 1.

        Returns:
            str: The last checkpoint.

        Raises:
            ValueError: The loss is not finite; see also
                :func:`~mmanchor.engine.launch.train`.
        """
        done = self.checkpoint(work_dir)
        if done is not None:
            return done
        folder = self.folder(work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        cfg = with_data_root(self.cfg, data_root)
        if self.start is not None:
            cfg.load_from = self.start.checkpoint(work_dir)
        # the host keeps loggers by name
        cfg.experiment_name = f'{self.key}_{os.getpid()}_{next(_COUNT)}'
        path = folder / 'config.py'
        cfg.dump(path)
        flags = ['--work-dir', str(folder), '--no-validate']
        if not torch.cuda.is_available():
            flags.append('--no-pin-memory')  # PyTorch would warn of it
        # not in a first start: it would drop `load_from`
        if latest_checkpoint(str(folder)) is not None:
            flags.append('--resume')
        with contextlib.redirect_stdout(Nowhere()):  # logs are in the folder
            launch.train(
                [str(path), *flags], [_Watch(report), _Stopwatch(folder)]
            )
        gc.collect()  # its workers end with it, which are in a circle
        last = Path(latest_checkpoint(str(folder)))
        write_json(
            dict(
                name=self.name,
                file=last.name,
                commit=commit(),
                seconds=_Stopwatch(folder).seconds,
            ),
            folder / 'trained.json',
        )
        return str(last)


def training_of(
    study: Study, setting: Setting, seed: int, cfg_options: dict | None = None
) -> Training:
    """What a setting trains with a seed.

    Args:
        study (Study): Any.
        setting (Setting): Any, of the study or not.
        seed (int): Of all that is drawn.
        cfg_options (dict, optional): More changes of every config.

    Raises:
        ValueError: An option changes no place of the config.
    """
    start = setting.start
    if isinstance(start, str):
        start = study.setting(start)
    elif start is not None:
        start = Setting(**{'name': f'start of {setting.name}', **start})
    return Training(
        f'{setting.name}, seed {seed}',
        _config(study.on, setting, seed, cfg_options or {}),
        study.on.configs[setting.method]['config'],
        None
        if start is None
        else training_of(study, start, seed, cfg_options),
    )


def _config(on: Ground, setting: Setting, seed: int, options: dict) -> Config:
    method = on.configs[setting.method]
    if setting.config is None:
        cfg, own = _read(method['config']), method['options']
    else:
        cfg, own = _read(CONFIG_DIR / setting.config), {}
    for changes, of in (
        (on.options, on.name),
        (own, f'{on.name} for {setting.method}'),
        (setting.options, repr(setting.name)),
        (options, '--cfg-options'),
    ):
        override(cfg, changes, of)
    if setting.wrap_dataset is not None:
        loader = cfg.train_dataloader
        loader.dataset = dict(setting.wrap_dataset, dataset=loader.dataset)
    cfg.setdefault('randomness', {})['seed'] = seed
    preprocessor = cfg.get('data_preprocessor') or {}
    for drawn in (*reference_hooks(cfg), preprocessor.get('references')):
        if isinstance(drawn, dict):
            drawn.setdefault('seed', seed)
    # the last is all that is needed
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint is not None:
        checkpoint['max_keep_ckpts'] = 1
    return cfg


def _read(path: str | Path) -> Config:
    """A config file; most settings share theirs, and reading takes long."""
    return copy.deepcopy(_read_once(str(path)))


_read_once = functools.lru_cache(maxsize=None)(read_config)


def plain(config: Any) -> Any:
    """What a config holds, in words of JSON.

    Example:
        >>> plain(Config(dict(a=(1, None), b=dict(type=Config))))
        {'a': [1, None], 'b': {'type': 'Config'}}
    """
    if isinstance(config, Config):
        config = {
            key: value
            for key, value in config.to_dict().items()
            if key not in _LEFT_OUT
        }
    if isinstance(config, dict):
        return {
            str(key): type_name(config) if key == 'type' else plain(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [plain(value) for value in config]
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    name = getattr(config, '__qualname__', None)
    # the representation of a function has its place in memory
    return repr(config) if name is None else f'{config.__module__}.{name}'


class _Watch(Hook):
    """Tells how far training is, and ends it where the loss is lost."""

    priority = 'VERY_LOW'

    def __init__(self, report: Callable[[float], None], interval: int = 50):
        self.report, self.interval = report, interval

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        self.report((runner.iter + 1) / max(1, runner.max_iters))
        # a look at a GPU's loss waits for it
        if self.every_n_train_iters(
            runner, self.interval
        ) or self.is_last_train_iter(runner):
            loss = float(torch.as_tensor(outputs['loss']).detach())
            if not abs(loss) < float('inf'):
                raise ValueError(
                    f'Expected a finite loss, but got {loss} at iteration '
                    f'{runner.iter + 1}: training diverged. Lower the '
                    'learning rate, say, or leave the setting out.'
                )


class _Stopwatch(Hook):
    """Adds up the seconds of epochs, over all processes that trained them.

    An epoch that was stopped in its middle and done again counts once.
    """

    def __init__(self, folder: Path):
        self.path = folder / 'seconds.json'

    @property
    def seconds(self) -> float:
        """Of all epochs so far."""
        return round(sum(self._of_epochs().values()), 1)

    def _of_epochs(self) -> dict:
        return (
            json.loads(self.path.read_text(encoding='utf-8'))
            if self.path.exists()
            else {}
        )

    def before_train_epoch(self, runner) -> None:
        self.epoch, self.begun = str(runner.iter), time.time()

    def after_train_epoch(self, runner) -> None:
        if runner.rank == 0:
            passed = time.time() - self.begun
            write_json({**self._of_epochs(), self.epoch: passed}, self.path)


class Nowhere(io.TextIOBase):
    """Takes what is printed; never closed, as loggers keep it."""

    def write(self, text: str) -> int:
        return len(text)
