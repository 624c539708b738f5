"""Training a head on a frozen backbone, whose features are cached."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import HOOKS
from torch import nn

from ...datasets.cached_features import (
    FeatureDataset,
    compute_features,
    image_files_sha256,
    read_features,
    write_features,
)
from ...functional.folding import own_forward, replaced_forward
from ...models import AnchoredImageClassifier
from ...models.data_preprocessor import ReferenceDrawingDataPreprocessor
from ...utils.config import evaluation_pipeline
from ...utils.files import state_sha256
from ..cli import check_positive
from ..reference_source import (
    loaded_training_set,
    only_plots_schedule,
    training_set,
)
from .batch_image_hook import BatchImageHook

# what an image goes through besides the pipeline and the network
_OF_IMAGES = ('mean', 'std', 'to_rgb', 'pad_size_divisor', 'pad_value')


@HOOKS.register_module()
class FrozenBackboneHook(Hook):
    """Train the head alone, on features that are computed once.

    Before training, each training image passes the test pipeline, backbone
    and neck once. The features are cached in a file, and training reads them
    instead of images, so augmentations of the training pipeline don't apply.
    Backbone and neck don't change, and neither do their running statistics.
    Validation, test and checkpoints use the whole model, without the hook.

    It is for plain models, and for anchored ones with ``anchor_at='head'``.
    The trained backbone comes from ``load_from`` or from the backbone's
    ``init_cfg``. Mixup is the only augmentation of batches that works here; it
    mixes features.

    The name of the file has digits of the SHA-256 of the weights and of
    everything else that the features depend on, so models that share a
    backbone share a file, and others don't.

    Args:
        file (str, optional): The file of features, ``.npz``. Defaults to
            None: one beside the checkpoint of ``load_from``, or in the work
            dir if there is none.
        batch_size (int): Images that pass the backbone at once. Defaults to
            256.
        workers (int): Threads that read images. Defaults to 2.

    Raises:
        TypeError: The model is no ``ImageClassifier``, or backbone and neck
            don't give one vector an image.
        ValueError: The model anchors elsewhere than at the head, references
            come from a set, the batch is augmented otherwise than by Mixup,
            there are several processes or a ``BatchImageHook``, a number is
            out of range, or the file has features of other weights or
            another pipeline.

    Example:
        >>> custom_hooks = [
        ...     dict(type='KReferenceHook', num_references=10),
        ...     dict(type='FrozenBackboneHook'),
        ... ]
    """

    priority = 'LOW'  # after hooks that change the model or look at images

    def __init__(
        self, file: str | None = None, batch_size: int = 256, workers: int = 2
    ):
        check_positive(
            {
                '`batch_size` of FrozenBackboneHook': batch_size,
                '`workers` of FrozenBackboneHook': workers,
            }
        )
        if file is not None and not str(file).endswith('.npz'):
            raise ValueError(
                'Expected `file` of FrozenBackboneHook to end in .npz, but '
                f'got {str(file)!r}. Change its ending.'
            )
        self.file = file
        self.batch_size, self.workers = batch_size, workers
        self._reading: replaced_forward | None = None

    def before_run(self, runner: Runner) -> None:
        """Refuse what can't be trained on features."""
        if runner._train_loop is None or only_plots_schedule(runner):
            return
        if get_world_size() > 1:
            raise ValueError(
                'Expected one process with FrozenBackboneHook, since a head '
                f'trains in minutes, but got {get_world_size()}. Start one.'
            )
        if any(isinstance(hook, BatchImageHook) for hook in runner.hooks):
            raise ValueError(
                'Expected no BatchImageHook beside FrozenBackboneHook, whose '
                'batches are features, but got one. Take it out of '
                '`custom_hooks`.'
            )
        _check_model(runner.model)

    def before_train(self, runner: Runner) -> None:
        """Compute or read the features, and train on them from now on."""
        if only_plots_schedule(runner):
            return
        model = runner.model
        model.backbone.requires_grad_(False)
        if model.with_neck:
            model.neck.requires_grad_(False)
        dataset = self._features(runner, loaded_training_set(runner))
        loader = dict(runner.cfg.train_dataloader)
        loader.update(
            dataset=dataset,
            collate_fn=dataset.collate,
            num_workers=0,
            persistent_workers=False,
        )
        for name in ('prefetch_factor', 'worker_init_fn'):
            loader.pop(name, None)  # of worker processes
        runner.train_loop.dataloader = runner.build_dataloader(
            loader, seed=runner.seed
        )
        self._reading = features_pass(model)
        self._reading.__enter__()

    def after_train(self, runner: Runner) -> None:
        """Let the model read images alone again."""
        if self._reading is not None:
            self._reading.__exit__(None, None, None)
            self._reading = None

    def _features(self, runner: Runner, images) -> FeatureDataset:
        model, cfg = runner.model, runner.cfg
        made_from = _made_from(model, cfg, images)
        path = self._path(runner, made_from)
        cached = read_features(path, made_from)
        if cached is None:
            runner.logger.info(
                f'Computing features of {len(images)} training images with '
                'the frozen backbone, through the test pipeline.'
            )
            model.eval()
            features, labels = compute_features(
                training_set(cfg, images),
                range(len(images)),
                lambda inputs: trunk_features(
                    model, model.data_preprocessor(dict(inputs=inputs))
                ),
                self.batch_size,
                self.workers,
            )
            written = write_features(
                path,
                made_from,
                features=features.numpy(),
                labels=labels.numpy(),
            )
            words = f'Cached in {path}' if written else f'{path} has no room'
            runner.logger.info(f'{words}: {tuple(features.shape)}.')
        else:
            runner.logger.info(f'Training on the features of {path}.')
            features = torch.from_numpy(cached['features'])
            labels = torch.from_numpy(cached['labels'])
        return FeatureDataset(
            features, labels, getattr(images, 'metainfo', None)
        )

    def _path(self, runner: Runner, made_from: dict) -> Path:
        if self.file is not None:
            return Path(self.file).expanduser()
        folder = Path(runner.work_dir)
        start = runner._load_from
        if start and not runner._resume and Path(start).is_file():
            folder = Path(start).parent
        text = json.dumps(made_from, sort_keys=True)
        rest = hashlib.sha256(text.encode()).hexdigest()
        return folder / f'features_{made_from["weights"][:16]}_{rest[:8]}.npz'


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, ImageClassifier) or not model.with_head:
        raise TypeError(
            'Expected an ImageClassifier with a head, plain or anchored, for '
            f'FrozenBackboneHook, but got {type(model).__name__}. Take the '
            'hook out of `custom_hooks`.'
        )
    if (
        isinstance(model, AnchoredImageClassifier)
        and model.anchor_at != 'head'
    ):
        raise ValueError(
            "Expected `anchor_at='head'` for FrozenBackboneHook, since what "
            'comes before the head is not trained, but got '
            f"{model.anchor_at!r}. Set `model = dict(anchor_at='head')`."
        )
    preprocessor = model.data_preprocessor
    if (
        isinstance(preprocessor, ReferenceDrawingDataPreprocessor)
        and preprocessor.reference_set is not None
    ):
        raise ValueError(
            "Expected `references='batch'` of the data preprocessor for "
            'FrozenBackboneHook, whose batches are features, but got a '
            "ReferenceSet of images. Set `references='batch'`."
        )
    augments = getattr(preprocessor.batch_augments, 'augments', [])
    others = {type(one).__name__ for one in augments} - {'Mixup'}
    if others:
        raise ValueError(
            'Expected no `batch_augments` but Mixup for FrozenBackboneHook, '
            f'whose batches are features, but got {", ".join(sorted(others))}'
            '. Drop them.'
        )


def _made_from(model, cfg, images) -> dict:
    """List everything that the features depend on."""
    modules = dict(backbone=model.backbone)
    if model.with_neck:
        modules['neck'] = model.neck
    weights = {
        f'{name}.{key}': value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    preprocessor = model.data_preprocessor
    dataset = {
        key: value
        for key, value in cfg.train_dataloader.dataset.items()
        if key != 'pipeline'
    }
    # the annotations, where the data set holds them in one piece
    annotations = getattr(images, 'data_bytes', None)
    return dict(
        weights=state_sha256(weights),
        backbone=repr(cfg.model.backbone),
        neck=repr(cfg.model.get('neck')),
        normalisation={
            name: _plain(getattr(preprocessor, name, None))
            for name in _OF_IMAGES
        },
        pipeline=repr(evaluation_pipeline(cfg)),
        dataset=repr(dataset),
        images=len(images),
        annotations=annotations is not None
        and hashlib.sha256(np.asarray(annotations).tobytes()).hexdigest(),
        image_files=image_files_sha256(images),
    )


def _plain(value):
    return value.tolist() if isinstance(value, torch.Tensor) else value


@torch.no_grad()
def trunk_features(model: ImageClassifier, data: dict) -> torch.Tensor:
    """Compute the features that the head reads, one vector for each image.

    Args:
        data (dict): A batch, as the model's data preprocessor returns it.

    Shape:
        - output: (B, D), float32

    Raises:
        TypeError: Backbone and neck return something else.
    """
    # the forward itself: hooks may anchor what comes out of it
    found = (
        own_forward(model.neck)(model.backbone(data['inputs']))
        if model.with_neck
        else own_forward(model.backbone)(data['inputs'])
    )
    if isinstance(found, (tuple, list)) and found:
        found = found[-1]
    if not isinstance(found, torch.Tensor) or found.dim() != 2:
        kind = (
            f'a map of shape {tuple(found.shape[1:])}'
            if isinstance(found, torch.Tensor)
            else type(found).__name__
        )
        raise TypeError(
            'Expected backbone and neck to give one vector an image for '
            f'FrozenBackboneHook, but got {kind} from '
            f"{type(model.backbone).__name__}. Add `neck=dict(type='"
            "GlobalAveragePooling')`, or train on images."
        )
    return found.float()


def features_pass(model: ImageClassifier) -> replaced_forward:
    """Let a model accept features, (B, D), instead of images.

    Args:
        model (ImageClassifier): Plain, or with ``anchor_at='head'``.

    Returns:
        ContextManager: Within it, features go through preprocessing, backbone
        and neck unchanged. Images go through as before.
    """

    def unless_features(module: nn.Module) -> Callable:
        own = own_forward(module)

        def forward(inputs, *args, **kwargs):
            first = inputs[0] if isinstance(inputs, tuple) else inputs
            if isinstance(first, torch.Tensor) and first.dim() == 2:
                return (first,)
            return own(inputs, *args, **kwargs)

        return forward

    trunk = [model.backbone, *([model.neck] if model.with_neck else [])]
    return replaced_forward(
        {
            **{module: unless_features(module) for module in trunk},
            model.data_preprocessor: _Preprocessing(model.data_preprocessor),
        }
    )


class _Preprocessing:
    """Preprocesses features: images alone are normalised and padded."""

    OFF = dict(_enable_normalize=False, to_rgb=False, pad_size_divisor=1)

    def __init__(self, preprocessor: nn.Module):
        self.preprocessor = preprocessor
        self.own = own_forward(preprocessor)

    def __call__(self, data: dict, training: bool = False) -> dict:
        inputs = data['inputs']
        if not isinstance(inputs, torch.Tensor) or inputs.dim() != 2:
            return self.own(data, training)
        settings = {
            name: getattr(self.preprocessor, name) for name in self.OFF
        }
        vars(self.preprocessor).update(self.OFF)
        try:
            return self.own(data, training)
        finally:
            vars(self.preprocessor).update(settings)
