"""Loads a model from a config and a checkpoint, and refuses a partial fit."""

import copy
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from ..models import AnchoredImageClassifier
from ..models.plain_config import drop_pretrained
from ..utils.config import scope_of, type_name
from .safe_loading import load_checkpoint
from .verification import (
    check_architecture,
    check_checkpoint,
    check_kind,
    own_names,
)


def load_anchored(
    cfg: Config, checkpoint: str, allow_code: bool = False
) -> tuple[AnchoredImageClassifier, dict]:
    """Load an anchored model with its references.

    Returns:
        Tuple[AnchoredImageClassifier, dict]: The model on the CPU in
        evaluation mode, which uses all of its references; and the checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: :func:`load_classifier` refuses the model, the model of
            the config is not anchored, or the checkpoint has no references.
    """
    model, saved = load_classifier(
        cfg, checkpoint, (AnchoredImageClassifier,), allow_code
    )
    model.reference_bank.in_use  # raises if the bank is empty
    return model, saved


def load_classifier(
    cfg: Config,
    checkpoint: str,
    kinds: tuple[type, ...] = (ImageClassifier,),
    allow_code: bool = False,
) -> tuple[ImageClassifier, dict]:
    """Load a classifier, anchored or not.

    MMEngine would only log missing weights and continue without them.

    Args:
        kinds (tuple[type]): The classes that are accepted. Defaults to any
            ``ImageClassifier``.
        allow_code (bool): Run any code that the checkpoint contains. Defaults
            to False, which refuses it.

    Returns:
        Tuple[ImageClassifier, dict]: The model on the CPU in evaluation mode;
        and the checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The config has no model of these kinds; or the checkpoint
            is damaged, contains code, or is of another architecture or
            another number of classes.
    """
    check_checkpoint(checkpoint)
    cfg = copy.deepcopy(cfg)
    kind = type_name(cfg.model) if 'model' in cfg else None
    if kind is not None:
        drop_pretrained(cfg.model)
        if cfg.get('data_preprocessor') is not None:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        with scope_of(cfg):
            model = MODELS.build(cfg.model)
    if kind is None or not isinstance(model, kinds):
        raise ValueError(
            f'Expected the config of an {kinds[0].__name__}, but its '
            f'`model` is {kind}. Name the config that {checkpoint} was '
            'trained with.'
        )
    saved = load_checkpoint(checkpoint, allow_code)
    weights = own_names(saved.get('state_dict', saved))
    load_all_weights(model, weights, checkpoint)
    return model.eval(), saved


def load_all_weights(
    model: ImageClassifier, weights: dict[str, torch.Tensor], path: str
) -> None:
    """Load weights into a model, and raise unless all of them fit.

    Raises:
        ValueError: Weights are missing, of another shape or unknown to the
            model.
    """
    check_kind(model, weights)
    if isinstance(model, AnchoredImageClassifier):
        check_architecture(model, weights, path)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a weight has another shape
        missing, unexpected = str(error).splitlines()[1:], []
    # MMPretrain removes some tables from a checkpoint and computes them again,
    # such as SwinV2's. These are not missing.
    wrong = [*(name for name in missing if name not in weights), *unexpected]
    # Losses have buffers, and the loss may differ from that in training.
    wrong = [name.strip() for name in wrong if '.loss_module.' not in name]
    if wrong:
        raise ValueError(
            f"Expected the weights of the config's model, but {path} "
            f'differs in {len(wrong)}: {wrong[0]}. Name the config that it '
            'was trained with.'
        )


class WholeModelHook(Hook):
    """Stops a classifier from being tested with random weights.

    MMEngine would only log weights that don't fit, and continue without them.
    """

    priority = 'LOWEST'  # runs after EMAHook has swapped in averaged weights

    def __init__(self, path: str):
        self.path = path

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare weights with the model and class names with the data."""
        model = next(
            (
                one
                for one in runner.model.modules()
                if isinstance(one, ImageClassifier)
            ),
            None,
        )
        if model is None:
            return
        weights = own_names(checkpoint.get('state_dict', checkpoint))
        load_all_weights(model, weights, self.path)
        metainfo = getattr(runner.test_loop.dataloader.dataset, 'metainfo', {})
        check_classes(
            classes_of(checkpoint),
            metainfo.get('classes'),
            self.path,
            'the test set',
        )


def classes_of(checkpoint: dict) -> Sequence[str] | None:
    """Get the class names of a checkpoint; None if it has none.

    Example:
        >>> classes_of(dict(meta=dict(dataset_meta=dict(classes=('a',)))))
        ('a',)
    """
    meta = checkpoint.get('meta')
    dataset = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return dataset.get('classes') if isinstance(dataset, dict) else None


def check_classes(
    trained: Sequence[str] | None,
    tested: Sequence[str] | None,
    path: str,
    name: str,
) -> None:
    """Raise if a test set orders the same classes differently.

    If the sets use different names, their order can't be compared.

    Raises:
        ValueError: The names are the same, but in another order.
    """
    if trained is None or tested is None:
        return
    trained, tested = list(map(str, trained)), list(map(str, tested))
    if trained == tested or sorted(trained) != sorted(tested):
        return
    place = next(i for i, one in enumerate(trained) if one != tested[i])
    raise ValueError(
        f'Expected the classes of {name} in the order of {path}, but class '
        f'{place} is {trained[place]!r} there and {tested[place]!r} in '
        f'{name}. Number the labels of the test set as in training.'
    )
