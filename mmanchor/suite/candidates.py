"""The models that a suite compares: a config, a checkpoint and a name."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import HOOKS
from torch import nn

from ..checkpoints.model_loading import classes_of, load_classifier
from ..checkpoints.verification import check_checkpoint, is_remote
from ..models import AnchoredImageClassifier
from ..utils.config import evaluation_pipeline, reference_hooks, type_name
from ..utils.files import file_sha256
from ..utils.provenance import shareable_path
from .images import TestPipeline
from .model_scores import REVERSE_SCORES


class LoadedModel(NamedTuple):
    """A model to test, with the test pipeline of its config.

    Attributes:
        model (torch.nn.Module): In evaluation mode, on its device.
        classes (Sequence[str], optional): The classes that the checkpoint
            names.
    """

    model: nn.Module
    pipeline: TestPipeline
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Candidate:
    """A checkpoint, standard or anchored, and how to test it.

    Args:
        name (str): Its name in tables and figures.
        cfg (Config): The config that it was trained with. Its
            ``KReferenceHook`` decides how references are used.
        config_name (str): The name of the config in the results.
        allow_code (bool): Whether to run code that the checkpoint holds.
            Defaults to False.

    Raises:
        FileNotFoundError: The checkpoint is missing.
        ValueError: The checkpoint is incomplete, is no file, or ``cfg`` has
            no test pipeline.
    """

    name: str
    cfg: Config
    checkpoint: str
    config_name: str
    allow_code: bool = False

    def __post_init__(self):
        if is_remote(self.checkpoint):
            raise ValueError(
                'Expected a checkpoint on disk, but got '
                f'{self.checkpoint}. Download it first.'
            )
        check_checkpoint(self.checkpoint)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the checkpoint."""
        return file_sha256(self.checkpoint)

    @cached_property
    def hook(self):
        """Its ``KReferenceHook``; None for plain models."""
        hooks = reference_hooks(self.cfg)
        return HOOKS.build(copy.deepcopy(hooks[0])) if hooks else None

    @property
    def how(self) -> str | None:
        """How references are used, such as ``'K = 10'``; None if plain."""
        if self.hook is None:
            return None
        return self.hook.protocol.describe(self.hook.needed)

    @property
    def settings(self) -> dict:
        """Everything that its results depend on, besides the images."""
        cfg = self.cfg
        return dict(
            checkpoint=self.sha256,
            model=repr(cfg.model),
            data_preprocessor=repr(cfg.get('data_preprocessor')),
            pipeline=repr(evaluation_pipeline(cfg)),
            references=repr(reference_hooks(cfg)),
            # references may be drawn from it
            training=repr((cfg.get('train_dataloader') or {}).get('dataset')),
        )

    def can_have(self, score: str) -> bool:
        """Whether this kind of model can have an anomaly score.

        Args:
            score (str): The name of the score. Reverse anchoring needs
                references.
        """
        return score not in REVERSE_SCORES or self.hook is not None

    def load(self, device: str) -> LoadedModel:
        """Load the model, and set its references and protocol.

        Raises:
            TypeError: It is no classifier with one softmax over the classes.
            ValueError: The checkpoint does not fit the config, or has too few
                references and the config has nothing to draw others from.
        """
        model, saved = load_classifier(
            self.cfg, self.checkpoint, allow_code=self.allow_code
        )
        head = getattr(model, 'head', None)
        if not (
            isinstance(model, ImageClassifier)
            and isinstance(head, ClsHead)
            and not type(head).__name__.startswith('Regression')
        ):
            raise TypeError(
                'Expected an ImageClassifier with one softmax over the '
                f'classes (a ClsHead), but got {type(model).__name__} with '
                f'{type(head).__name__}. Name another config.'
            )
        if isinstance(model, AnchoredImageClassifier):
            if self.hook is None:
                raise ValueError(
                    f'Expected `KReferenceHook` in `custom_hooks` of '
                    f'{self.config_name} to say how references are used, but '
                    'there is none. Add it.'
                )
            self.hook.set_references(model, self.cfg, logging.getLogger())
        return LoadedModel(
            model.to(device).eval(),
            TestPipeline(evaluation_pipeline(self.cfg)),
            classes_of(saved),
        )

    def describe(self) -> dict:
        """The entries of ``results.json`` that describe the model."""
        hook = self.hook
        return dict(
            config=shareable_path(self.config_name),
            checkpoint=shareable_path(self.checkpoint),
            sha256=self.sha256,
            classifier=type_name(self.cfg.model),
            num_references=hook and hook.needed,
            protocol=hook and hook.protocol.name,
            average=self.cfg.model.get('average', 'logits') if hook else None,
            select=hook and hook.select,
            reference_seed=hook and hook.seed,
        )


def named(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Make names unique: add the use of references, and numbers if needed."""
    renamed, taken = [], set()
    for one in candidates:
        name = plain = f'{one.name}, {one.how}' if one.how else one.name
        number = 1
        while name in taken:
            number += 1
            name = f'{plain} ({number})'
        taken.add(name)
        renamed.append(replace(one, name=name))
    return renamed
