"""Checks that a checkpoint exists, is complete and fits the model."""

import os
import re
import zipfile
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader, Runner

from ..models import AnchoredImageClassifier, FoldedImageClassifier
from ..models.feature_place import PROJECTION
from ..models.folded_classifier import MAP_KEY
from ..utils.config import pretrained_files
from .safe_loading import check_inflation

BANK_KEY = 'reference_bank.images'
RESIDUALS_KEY = 'reference_bank.residual_pairs'
_DRAWS_KEY = 'data_preprocessor.iteration'


def own_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Remove the prefix of DistributedDataParallel from names of weights."""
    return {
        name.removeprefix('module.'): weight
        for name, weight in weights.items()
    }


def is_remote(path: str) -> bool:
    """Return whether MMEngine downloads a path instead of opening a file."""
    return re.match(r'[\w-]+:', path) is not None


def check_checkpoint(path: str) -> None:
    """Raise early if a local checkpoint is missing or damaged.

    Of several processes, only the first one reads the whole file to verify
    its checksums.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated or damaged, is no checkpoint, or
            inflates to many times its size.
    """
    if is_remote(path):
        return
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Expected a checkpoint file, but there is none at {path}. Change '
            'the path: `last_checkpoint` in the work dir of a run names its '
            'latest one.'
        )
    with open(path, 'rb') as file:
        legacy = file.read(1) == b'\x80'  # It is a pickle of PyTorch < 1.6.
    if not legacy and not zipfile.is_zipfile(path):
        raise ValueError(
            f'Expected a whole checkpoint, but {path} '
            f'({os.path.getsize(path)} bytes) was cut short or is no '
            'checkpoint. Use an earlier one, or copy it again.'
        )
    check_inflation(path)
    if not legacy and is_first_process():
        try:
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            damaged = error
        if damaged is not None:
            raise ValueError(
                f'Expected a whole checkpoint, but {path} '
                f'({os.path.getsize(path)} bytes) is damaged: {damaged}. Use '
                'an earlier one, or copy it again.'
            )


def is_first_process() -> bool:
    """Return whether this is rank 0, even before a process group exists."""
    names = 'RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'
    ranks = (os.environ.get(name) for name in names)
    return next(filter(None, ranks), '0') == '0'


def check_pretrained(model_config: dict) -> None:
    """Raise early if a file of pretrained weights is missing or damaged.

    Raises:
        ValueError: A file that the config names is missing or damaged.
    """
    for init_cfg in pretrained_files(model_config):
        path = init_cfg.get('checkpoint')
        try:
            check_checkpoint(str(path))
        except FileNotFoundError as error:
            raise ValueError(
                'Expected a file of pretrained weights, but there is none at '
                f'{path!r}. Correct `checkpoint` of the `init_cfg` (or '
                '`pretrained`) that names it, or remove that.'
            ) from error


def check_pretrained_fits(
    model: AnchoredImageClassifier, model_config: dict
) -> None:
    """Raise if pretrained weights are of another backbone.

    Files that are not local, and any ``init_cfg`` of single layers of a
    backbone, are not checked.

    Raises:
        ValueError: :func:`check_architecture` refuses the weights, or the
            config lacks the ``prefix`` that they need.
    """
    whole = dict(
        pretrained=model_config.get('pretrained'),
        init_cfg=model_config.get('init_cfg'),
        head=None,
    )
    backbone = dict(model_config.get('backbone') or {})
    own = dict(init_cfg=backbone.get('init_cfg'))
    for config, is_backbone in ((whole, False), (own, True)):
        for init_cfg in pretrained_files(config):
            path, prefix = init_cfg['checkpoint'], init_cfg.get('prefix', '')
            if is_remote(path):
                continue
            weights = CheckpointLoader.load_checkpoint(path, 'cpu', None)
            weights = weights.get('state_dict', weights)
            if is_backbone:
                prefix = prefix and prefix.rstrip('.') + '.'
                if not prefix and any(
                    name.startswith('backbone.') for name in weights
                ):
                    raise ValueError(
                        f'Expected weights of a backbone, but {path} has '
                        "weights of a classifier. Add `prefix='backbone.'` "
                        'to the `init_cfg` of the backbone.'
                    )
                weights = {
                    'backbone.' + name[len(prefix) :]: weight
                    for name, weight in weights.items()
                    if name.startswith(prefix)
                }
            check_architecture(model, weights, path)


def check_architecture(
    model: AnchoredImageClassifier,
    state_dict: dict[str, torch.Tensor],
    path: str = 'the checkpoint',
) -> None:
    """Raise if a checkpoint is of another backbone.

    MMEngine would only log the weights that don't fit, and continue without
    them. A few may differ, such as position embeddings of another size, but
    not most of them.

    Raises:
        ValueError: Fewer than half of the backbone's weights are in the
            checkpoint with the same name and shape.
    """
    shapes = {
        name: tuple(weight.shape)
        for name, weight in own_names(state_dict).items()
        if isinstance(weight, torch.Tensor)
    }
    stem = [f'{name}.weight' for name in model.widened_layers]
    wanted = {
        f'backbone.{name}': tuple(weight.shape)
        for name, weight in model.backbone.state_dict().items()
    }
    # A plain model has no projection.
    wanted.pop(f'backbone.{PROJECTION}.weight', None)
    missing = {
        name: shape
        for name, shape in wanted.items()
        if shapes.get(name) != shape
        and not (name in stem and _is_plain_stem(shapes.get(name), shape))
    }
    if 2 * len(missing) > len(wanted):
        name, shape = next(iter(missing.items()))
        raise ValueError(
            f'Expected the weights of the {type(model.backbone).__name__} in '
            f'the config, but {path} has {len(wanted) - len(missing)} of its '
            f'{len(wanted)} weights by name and shape: {name} should have the '
            f'shape {shape}, but is {shapes.get(name, "missing")}. Name a '
            'checkpoint of the same architecture, or the config that it was '
            'trained with.'
        )


def _is_plain_stem(saved, anchored) -> bool:
    return (
        saved is not None
        and len(saved) in (2, 4)
        and (saved[0], 2 * saved[1], *saved[2:]) == anchored
    )


class PlainModelHook(Hook):
    """Stops a plain model from loading an anchored or folded model's weights.

    MMEngine would only log that the stem does not fit and leave it random, or
    skip the reference maps, which a folded model adds to its stem's output.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the kind of the checkpoint with the kind of the model."""
        check_kind(runner.model, checkpoint.get('state_dict', checkpoint))


def check_kind(
    model: torch.nn.Module, state_dict: dict[str, torch.Tensor]
) -> None:
    """Raise if weights of an anchored or folded model meet a plain model.

    Raises:
        ValueError: The weights are of an anchored or a folded model, and the
            model contains none.
    """
    kind = type(model).__name__
    if not _contains(model, AnchoredImageClassifier) and _is_of_anchored(
        state_dict, model
    ):
        raise ValueError(
            'Expected the checkpoint of a plain model, since the config '
            f"has one ({kind}), but it is an anchored model's: it has a "
            'reference bank, or a stem for references. Use the config that '
            'it was trained with.'
        )
    if not _contains(model, FoldedImageClassifier) and any(
        key.endswith(MAP_KEY) for key in state_dict
    ):
        raise ValueError(
            'Expected the checkpoint of a model without reference maps, '
            f"since the config's model ({kind}) has none, but it is of a "
            'folded model. Use the config that was written with it, '
            '`folded.py`.'
        )


def _is_of_anchored(
    state_dict: dict[str, torch.Tensor], plain: torch.nn.Module
) -> bool:
    """Return whether weights belong to an anchored model.

    It may have lost its reference bank.
    """
    if any(key.endswith(BANK_KEY) for key in state_dict):
        return True
    own = plain.state_dict()
    if not any(key.endswith(_DRAWS_KEY) for key in own):
        return any(key.endswith(_DRAWS_KEY) for key in state_dict)
    # SubtractiveMix draws references too, so only the stem's width decides.
    return any(
        _is_plain_stem(tuple(weight.shape), tuple(state_dict[key].shape))
        for key, weight in own.items()
        if key in state_dict
    )


def _contains(model, kind) -> bool:
    return any(isinstance(module, kind) for module in model.modules())
