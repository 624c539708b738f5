"""Deep ensembles: several checkpoints of one config, averaged as one model."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import nn

from ..evaluation.feature_scores import FEATURE_SCORES
from ..utils.config import changes
from .candidates import Candidate, LoadedModel
from .model_scores import REVERSE_SCORES

# the entries of a config that decide what is trained
_TRAINING_KEYS = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
)
# arguments in which the members of an ensemble may differ
_MAY_DIFFER = (
    'seed',
    'data_root',
    'num_workers',
    'persistent_workers',
    'pin_memory',
)


class DeepEnsemble(nn.Module):
    """Classifiers whose probabilities are averaged.

    Args:
        members (Sequence[torch.nn.Module]): Host classifiers, anchored or
            not. Each uses its own references.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles, NeurIPS 2017. Probabilities
    are averaged rather than logits.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def stem_distance(self) -> float | None:
        """The mean over the members; None for plain ones."""
        each = [getattr(one, 'stem_distance', None) for one in self.members]
        return None if None in each else sum(each) / len(each)


@dataclass(frozen=True)
class EnsembleCandidate:
    """An ensemble, to be measured like a :class:`Candidate`.

    Args:
        name (str): Its name in tables and figures.
        members (Tuple[Candidate, ...]): Two or more checkpoints of one
            config. Each uses its own references.

    Raises:
        ValueError: There are fewer than two members, or two of them are the
            same checkpoint.
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
        """Raise if members were trained in different ways.

        Checkpoints of MMEngine hold the config and the classes. Others are
        not checked.

        Raises:
            ValueError: Two members were trained on different classes, or with
                configs that differ in more than seeds.
        """
        first, *others = self.members
        known = _origin(first.checkpoint)
        for other in others:
            for what, value in _origin(other.checkpoint).items():
                if value is None or known[what] is None:
                    continue
                for path, (before, after) in changes(
                    {what: known[what]}, {what: value}
                ).items():
                    raise ValueError(
                        'Expected checkpoints of one config and of the same '
                        'classes to average as one model, but they were '
                        f'trained with `{path}` = {before!r} in '
                        f'{first.checkpoint}, and {after!r} in '
                        f'{other.checkpoint}. Name checkpoints that differ '
                        'in their seed alone, or measure each by itself.'
                    )

    def load(self, device: str) -> LoadedModel:
        """Load all members; see :meth:`Candidate.load`."""
        members = [one.load(device) for one in self.members]
        return LoadedModel(
            DeepEnsemble([one.model for one in members]).eval(),
            members[0].pipeline,
        )

    def can_have(self, score: str) -> bool:
        """Whether ensembles can have an anomaly score.

        Features and references of different models are not averaged, so
        ensembles have no scores made from them.
        """
        return score not in FEATURE_SCORES and score not in REVERSE_SCORES

    @property
    def cfg(self) -> Config:
        """The config of the first member."""
        return self.members[0].cfg

    @property
    def hook(self):
        """The ``KReferenceHook`` of the first; None for plain models."""
        return self.members[0].hook

    @property
    def how(self) -> str:
        """The number of members, and how each uses references."""
        how = self.members[0].how
        return f'ensemble of {len(self.members)}' + (f', {how}' if how else '')

    @property
    def checkpoint(self) -> str:
        """The paths of all checkpoints."""
        return ' + '.join(one.checkpoint for one in self.members)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of each checkpoint."""
        return ' + '.join(one.sha256 for one in self.members)

    @property
    def settings(self) -> dict:
        """Everything that its results depend on, besides the images."""
        return dict(ensemble=[one.settings for one in self.members])

    def describe(self) -> dict:
        """The entries of ``results.json`` that describe the ensemble."""
        return dict(
            self.members[0].describe(),
            checkpoint=' + '.join(
                one.describe()['checkpoint'] for one in self.members
            ),
            sha256=self.sha256,
            ensemble=len(self.members),
        )


def _origin(checkpoint: str) -> dict[str, Any | None]:
    """The classes and the config that a checkpoint holds, or None."""
    saved = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', 'silent')
    meta = saved.get('meta') or {}
    classes = (meta.get('dataset_meta') or {}).get('classes')
    return dict(
        classes=None if classes is None else list(classes),
        config=_config_of(meta.get('cfg')),
    )


def _config_of(text: Any) -> dict | None:
    """Parse the entries of a config that decide training, without running it.

    Returns None if the text has anything but literals and calls of ``dict``.
    """
    try:
        values = {
            line.targets[0].id: _literal(line.value)
            for line in ast.parse(text).body
        }
    except (AttributeError, SyntaxError, TypeError, ValueError):
        return None
    return {name: values[name] for name in _TRAINING_KEYS if name in values}


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
