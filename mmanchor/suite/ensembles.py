"""Several checkpoints of one config, averaged as one model."""

import ast
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from ..utils.config import changes
from .candidates import Candidate, Ready
from .predict import DeepEnsemble

# what decides what is trained, besides seeds and where files are
_OF_TRAINING = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
)
_MAY_DIFFER = (
    'seed',
    'data_root',
    'num_workers',
    'persistent_workers',
    'pin_memory',
)


@dataclass(frozen=True)
class EnsembleCandidate:
    """Several candidates whose probabilities are averaged.

    Used in place of a :class:`Candidate`.

    Args:
        name (str): As tables and figures call it.
        members (Tuple[Candidate, ...]): Of one config, two or more; each
            answers by its own references.

    Raises:
        ValueError: There is one member only, or one checkpoint twice.
    """

    name: str
    members: tuple[Candidate, ...]

    def __post_init__(self):
        if len(self.members) < 2:
            raise ValueError(
                'Expected two checkpoints or more to average as one model, '
                f'but got {len(self.members)}: {self.checkpoint or "none"}. '
                'Name another, or measure it alone.'
            )
        for one, other in combinations(self.members, 2):
            if one.sha256 == other.sha256:
                raise ValueError(
                    'Expected different checkpoints to average as one model, '
                    f'but {one.checkpoint} and {other.checkpoint} are the '
                    'same. Leave one out.'
                )

    def check_members(self) -> None:
        """Refuse members that were not trained alike.

        As far as checkpoints say how they were trained: MMEngine's do.

        Raises:
            ValueError: Two were trained on other classes, or with configs
                that differ in more than seeds.
        """
        first, *others = self.members
        known = _origin(first.checkpoint)
        for other in others:
            for what, value in _origin(other.checkpoint).items():
                if value is None or known[what] is None:
                    continue
                different = changes({what: known[what]}, {what: value})
                if different:
                    path, (before, after) = next(iter(different.items()))
                    raise ValueError(
                        'Expected checkpoints of one config and of the same '
                        'classes to average as one model, but they were '
                        f'trained with `{path}` = {before!r} in '
                        f'{first.checkpoint}, and {after!r} in '
                        f'{other.checkpoint}. Name checkpoints that differ '
                        'in their seed alone, or measure each by itself.'
                    )

    def load(self, device: str) -> Ready:
        """Load all members; see :meth:`Candidate.load`."""
        ready = [one.load(device) for one in self.members]
        return Ready(
            DeepEnsemble([one.model for one in ready]).eval(),
            ready[0].pipeline,
        )

    @property
    def cfg(self) -> Config:
        """The config of the first."""
        return self.members[0].cfg

    @property
    def config_name(self) -> str:
        """What the config is called."""
        return self.members[0].config_name

    @property
    def hook(self):
        """The ``KReferenceHook`` of the first; None of plain models."""
        return self.members[0].hook

    @property
    def how(self) -> str:
        """The number of members, and how each uses references."""
        used = self.members[0].how
        return f'ensemble of {len(self.members)}' + (
            f', {used}' if used else ''
        )

    @property
    def checkpoint(self) -> str:
        """All of them."""
        return ' + '.join(one.checkpoint for one in self.members)

    @cached_property
    def sha256(self) -> str:
        """Of each checkpoint."""
        return ' + '.join(one.sha256 for one in self.members)

    @property
    def settings(self) -> dict:
        """What decides its figures, besides the images."""
        return dict(ensemble=[one.settings for one in self.members])

    def describe(self) -> dict:
        """What the results say of it."""
        return dict(
            self.members[0].describe(),
            checkpoint=' + '.join(
                one.describe()['checkpoint'] for one in self.members
            ),
            sha256=self.sha256,
            ensemble=len(self.members),
        )


def _origin(checkpoint: str) -> dict[str, Any | None]:
    """Classes and config that a checkpoint was trained with, if it says so."""
    saved = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', 'silent')
    meta = saved.get('meta') or {}
    classes = (meta.get('dataset_meta') or {}).get('classes')
    return dict(
        classes=None if classes is None else list(classes),
        config=_config_of(meta.get('cfg')),
    )


def _config_of(text: Any) -> dict | None:
    """What decides training in the text of a config, which is not run.

    None where it holds more than literals and calls of ``dict``.
    """
    try:
        found = {
            line.targets[0].id: _literal(line.value)
            for line in ast.parse(text).body
        }
    except (AttributeError, SyntaxError, TypeError, ValueError):
        return None
    return {name: found[name] for name in _OF_TRAINING if name in found}


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and node.func.id == 'dict':
        pairs = [(one.arg, one.value) for one in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [
            (ast.literal_eval(key), value)
            for key, value in zip(node.keys, node.values)
        ]
    elif isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(one) for one in node.elts]
    else:
        return ast.literal_eval(node)
    return {
        str(key): _literal(value)
        for key, value in pairs
        if key not in _MAY_DIFFER
    }
