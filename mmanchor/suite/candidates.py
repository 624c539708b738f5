"""The models that a suite compares."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from mmengine.config import Config
from mmpretrain.registry import HOOKS
from torch import nn

from ..checkpoints.model_loading import classes_of, load_classifier
from ..checkpoints.verification import check_checkpoint, is_remote
from ..models import AnchoredImageClassifier
from ..utils.config import evaluation_pipeline, reference_hooks, type_name
from ..utils.files import file_sha256
from ..utils.provenance import shareable_path
from .images import TestPipeline
from .predict import check_classifier


class Ready(NamedTuple):
    """A model to test, and how it takes images."""

    model: nn.Module
    pipeline: TestPipeline
    classes: Sequence[str] | None = None  # that the checkpoint names


@dataclass(frozen=True)
class Candidate:
    """A checkpoint, standard or anchored, and how to test it.

    Args:
        name (str): As tables and figures call it.
        cfg (Config): What it was trained with; its ``KReferenceHook`` says
            how references are used.
        checkpoint (str): A file.
        config_name (str): What to call ``cfg`` in the results.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ValueError: It was cut short, is no file, or ``cfg`` has no test
            pipeline.
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
        """Of the checkpoint."""
        return file_sha256(self.checkpoint)

    @cached_property
    def hook(self):
        """Its ``KReferenceHook``; None of plain models."""
        found = reference_hooks(self.cfg)
        return HOOKS.build(copy.deepcopy(found[0])) if found else None

    @property
    def how(self) -> str | None:
        """How references are used, in a word or two; None of plain models."""
        if self.hook is None:
            return None
        return self.hook.protocol.describe(self.hook.needed)

    @property
    def settings(self) -> dict:
        """What decides its figures, besides the images."""
        cfg = self.cfg
        return dict(
            checkpoint=self.sha256,
            model=repr(cfg.model),
            data_preprocessor=repr(cfg.get('data_preprocessor')),
            pipeline=repr(evaluation_pipeline(cfg)),
            references=repr(reference_hooks(cfg)),
            # where references may be drawn from
            training=repr((cfg.get('train_dataloader') or {}).get('dataset')),
        )

    def load(self, device: str) -> Ready:
        """Load it, with references and protocol set.

        Raises:
            TypeError: It is no classifier with one softmax.
            ValueError: The checkpoint is not the config's, or has too few
                references and there is nothing to draw others from.
        """
        model, saved = load_classifier(
            self.cfg, self.checkpoint, allow_code=self.allow_code
        )
        check_classifier(model)
        if isinstance(model, AnchoredImageClassifier):
            if self.hook is None:
                raise ValueError(
                    f'Expected `KReferenceHook` in `custom_hooks` of '
                    f'{self.config_name} to say how references are used, but '
                    'there is none. Add it.'
                )
            self.hook.set_references(model, self.cfg, logging.getLogger())
        return Ready(
            model.to(device).eval(),
            TestPipeline(evaluation_pipeline(self.cfg)),
            classes_of(saved),
        )

    def describe(self) -> dict:
        """What the results say of it."""
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
    """With how references are used, and numbers where names are the same."""
    found, taken = [], set()
    for one in candidates:
        name = plain = f'{one.name}, {one.how}' if one.how else one.name
        number = 1
        while name in taken:
            number += 1
            name = f'{plain} ({number})'
        taken.add(name)
        found.append(replace(one, name=name))
    return found
