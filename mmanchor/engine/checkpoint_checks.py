"""Whether a checkpoint is there, whole, and one for the model."""
import os
import re
import zipfile
from typing import Dict

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..models import AnchoredImageClassifier
from .config_reading import pretrained_files

BANK_KEY = 'reference_bank.images'


def check_checkpoint(path: str) -> None:
    """Find out early whether a local checkpoint is there and whole.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file was cut short, or is no checkpoint.
    """
    if '://' in path:  # fetched by MMEngine
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Expected a checkpoint file, but there is none at {path}. The '
            'latest of a run is named in `last_checkpoint` in its work dir.')
    with open(path, 'rb') as file:
        legacy = file.read(1) == b'\x80'  # a pickle, from before PyTorch 1.6
    if not legacy and not zipfile.is_zipfile(path):
        raise ValueError(
            f'Expected a whole checkpoint, but {path} '
            f'({os.path.getsize(path)} bytes) was cut short or is none. Use '
            'an earlier one, or copy it again.')


def check_pretrained(model_config: dict) -> None:
    """Find out early whether files of pretrained weights are there and whole.

    Raises:
        ValueError: One is not, or is damaged.
    """
    for path in pretrained_files(model_config):
        try:
            check_checkpoint(str(path))
        except FileNotFoundError as error:
            raise ValueError(
                'Expected a file of pretrained weights, but there is none at '
                f'{path!r}. Mend `checkpoint` of the `init_cfg` (or '
                '`pretrained`) that names it, or take it out.') from error


def check_architecture(model: AnchoredImageClassifier,
                       state_dict: Dict[str, torch.Tensor],
                       path: str = 'the checkpoint') -> None:
    """Refuse the checkpoint of another backbone, which the host would skip.

    The host logs weights that don't fit, and trains or tests on without them.
    Some may differ (position embeddings of another size, say), not most.

    Args:
        model (AnchoredImageClassifier): The model to load it into.
        state_dict (Dict[str, torch.Tensor]): The checkpoint's.
        path (str): What to call it.

    Raises:
        ValueError: Less than half of the backbone's weights are in it with
            the same name and shape, or the stem's are not.
    """
    shapes = {
        re.sub(r'^module\.', '', name): tuple(weight.shape)
        for name, weight in state_dict.items()
        if isinstance(weight, torch.Tensor)
    }
    stem = [f'backbone.{name}.weight' for name in model.stem]
    wanted = {
        f'backbone.{name}': tuple(weight.shape)
        for name, weight in model.backbone.state_dict().items()
    }
    missing = {
        name: shape
        for name, shape in wanted.items() if shapes.get(name) != shape
        and not (name in stem and _is_plain(shapes.get(name), shape))
    }
    if 2 * len(missing) > len(wanted) or set(missing) & set(stem):
        name, shape = next(iter(missing.items()))
        raise ValueError(
            f'Expected weights of a {type(model.backbone).__name__} as in '
            f'the config, but {path} has {len(wanted) - len(missing)} of its '
            f'{len(wanted)} by name and shape: {name} should be {shape} and '
            f'is {shapes.get(name, "not there")}. Name a checkpoint of the '
            'same architecture, or the config that it was trained with.')


def _is_plain(saved, anchored) -> bool:
    return saved is not None and len(saved) == 4 and (saved[0], 2 * saved[1],
                                                      *saved[2:]) == anchored


class PlainModelHook(Hook):
    """Keeps a plain model from the weights of an anchored one.

    The host would log the stem's shape, leave it random and go on.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look for a reference bank.

        Raises:
            ValueError: There is one.
        """
        if any(
                key.endswith(BANK_KEY)
                for key in checkpoint.get('state_dict', checkpoint)):
            raise ValueError(
                'Expected the checkpoint of a plain model, since the config '
                f'has one ({type(runner.model).__name__}), but it is an '
                'anchored model\'s: it has a reference bank. Use the config '
                'that it was trained with.')
