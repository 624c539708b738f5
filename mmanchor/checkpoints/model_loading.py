"""A model out of a config and a checkpoint, whole or not at all."""

import copy
import re
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
from .verification import check_architecture, check_checkpoint, check_kind


def load_anchored(
    cfg: Config, checkpoint: str, allow_code: bool = False
) -> tuple[AnchoredImageClassifier, dict]:
    """Load an anchored model to write it in another form.

    Args:
        cfg (Config): What it was trained with.
        checkpoint (str): Its checkpoint.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Returns:
        Tuple[AnchoredImageClassifier, dict]: On CPU, in evaluation mode, with
        all of its references in use; and the checkpoint.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ValueError: See :func:`load_classifier`; or the config has no anchored
            model, the checkpoint no references.
    """
    model, saved = load_classifier(
        cfg, checkpoint, (AnchoredImageClassifier,), allow_code
    )
    model.reference_bank.in_use  # says if there is none
    return model, saved


def load_classifier(
    cfg: Config,
    checkpoint: str,
    kinds: tuple[type, ...] = (ImageClassifier,),
    allow_code: bool = False,
) -> tuple[ImageClassifier, dict]:
    """Load a classifier, anchored or not.

    The host would log weights that are missing and go on without them.

    Args:
        cfg (Config): What it was trained with.
        checkpoint (str): Its checkpoint.
        kinds (tuple[type]): Which classes it may be of. Defaults to any
            ``ImageClassifier``.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Returns:
        Tuple[ImageClassifier, dict]: On CPU, in evaluation mode; and the
        checkpoint.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ValueError: The config has no such model; the checkpoint is damaged,
            holds code, or is of another architecture or for another number
            of classes.
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
    weights = {
        re.sub(r'^module\.', '', name): weight
        for name, weight in saved.get('state_dict', saved).items()
    }
    load_whole(model, weights, checkpoint)
    return model.eval(), saved


def load_whole(
    model: ImageClassifier, weights: dict[str, torch.Tensor], path: str
) -> None:
    """Load weights into a model, all of them or none.

    Args:
        model (ImageClassifier): Of the config.
        weights (Dict[str, torch.Tensor]): The checkpoint's.
        path (str): What to call the checkpoint.

    Raises:
        ValueError: Weights are missing, of another shape or not the model's.
    """
    check_kind(model, weights)
    if isinstance(model, AnchoredImageClassifier):
        check_architecture(model, weights, path)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # of another shape
        missing, unexpected = str(error).splitlines()[1:], []
    # what the host takes out of a checkpoint to make it anew, as SwinV2's
    # tables, is not missing
    wrong = [*(name for name in missing if name not in weights), *unexpected]
    # losses have buffers of their own, and recipes switch losses
    wrong = [name.strip() for name in wrong if '.loss_module.' not in name]
    if wrong:
        raise ValueError(
            f"Expected the weights of the config's model, but {path} "
            f'differs in {len(wrong)}: {wrong[0]}. Name the config that it '
            'was trained with.'
        )


class WholeModelHook(Hook):
    """Keeps a classifier from being tested with weights that are random.

    The host would log weights that don't fit, and go on without them.

    Args:
        path (str): What to call the checkpoint.
    """

    priority = 'LOWEST'  # averaged weights have taken their place by then

    def __init__(self, path: str):
        self.path = path

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare weights to the model, and names of classes to the data.

        Raises:
            ValueError: See :func:`load_whole` and :func:`check_classes`.
        """
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
        weights = checkpoint.get('state_dict', checkpoint)
        load_whole(
            model,
            {
                re.sub(r'^module\.', '', name): weight
                for name, weight in weights.items()
            },
            self.path,
        )
        metainfo = getattr(runner.test_loop.dataloader.dataset, 'metainfo', {})
        check_classes(
            classes_of(checkpoint),
            metainfo.get('classes'),
            self.path,
            'the test set',
        )


def classes_of(checkpoint: dict) -> Sequence[str] | None:
    """The names of classes that a checkpoint has, if it has any.

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
    """Refuse to test on the classes of a checkpoint in another order.

    Sets that name their classes in other words can't be compared.

    Args:
        trained (Sequence[str], optional): Names that the checkpoint has.
        tested (Sequence[str], optional): Names that the test set has.
        path (str): What to call the checkpoint.
        name (str): What to call the test set.

    Raises:
        ValueError: They are the same names in another order.
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
