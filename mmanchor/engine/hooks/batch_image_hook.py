"""Sends pictures of training batches to TensorBoard and other loggers."""

import copy
import random

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import MLflowVisBackend
from mmpretrain.registry import HOOKS

from ..batch_figure import (
    batch_figure,
    batch_images,
    masks_uniformly,
    reads_bgr,
    spread_and_error,
)
from ..cli import check_positive
from ..reference_source import only_plots_schedule

# Without slashes: LocalVisBackend names files after them, and OpenCV writes
# nothing, and does not complain, where a folder is missing.
BATCH, SPREAD = 'train_batch', 'val_spread'


@HOOKS.register_module()
class BatchImageHook(Hook):
    """Send pictures to MMEngine's ``Visualizer`` every few epochs.

    One picture shows the first training batch as the network receives it; see
    :func:`~mmanchor.engine.batch_figure.batch_images`. Another shows the
    error in validation by quantile of the spread over references, if the
    model has a spread; see
    :func:`~mmanchor.engine.batch_figure.spread_and_error`. The hook does not
    change the training in any bit. Of several ranks, the first sends its
    batch, and the validation images of all ranks.

    Args:
        interval (int): Number of epochs between pictures, also between those
            of validation, which may be rarer. Defaults to 1.
        images (int): Number of images of the batch, from its start. Defaults
            to 8.

    Raises:
        ValueError: An argument is below 1.

    Example:
        >>> custom_hooks = [dict(type='BatchImageHook', interval=10)]
    """

    def __init__(self, interval: int = 1, images: int = 8):
        check_positive(
            {
                '`interval` of BatchImageHook': interval,
                '`images` of BatchImageHook': images,
            }
        )
        self.interval, self.images = interval, images
        self._spread: list[float] = []
        self._wrong: list[bool] = []
        self._drawn: int | None = None  # epoch of the last one of validation

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None
    ) -> None:
        """Draw the first batch of an epoch before it is trained on."""
        if only_plots_schedule(runner) or not is_main_process():
            return
        epoch, place = divmod(runner.iter, len(runner.train_dataloader))
        if place or epoch % self.interval:
            return
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        preprocessor = model.data_preprocessor
        reference_set = getattr(preprocessor, 'reference_set', None)
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng():
            # Copy the preprocessor, because it counts its draws, but share
            # the reference set, which is large.
            pictures = batch_images(
                copy.deepcopy(
                    preprocessor, {id(reference_set): reference_set}
                ),
                copy.deepcopy(data_batch),
                self.images,
                runner.train_dataloader.dataset.metainfo.get('classes'),
                reads_bgr(runner.cfg) and not preprocessor.to_rgb,
                masks_uniformly(model),
            )
        random.setstate(states[0])
        np.random.set_state(states[1])
        _write(runner, BATCH, batch_figure([pictures]), epoch)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Remember the spread of each image."""
        for one in outputs or ():
            if 'pred_std' in one and 'gt_label' in one:
                self._spread.append(float(one.pred_std.mean()))
                label = int(one.pred_label)
                self._wrong.append(label not in one.gt_label.tolist())

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Draw the error by spread, if the last one is old enough."""
        mine = self._spread, self._wrong
        self._spread, self._wrong = [], []
        epoch = runner.epoch
        if self._drawn is not None and epoch - self._drawn < self.interval:
            return
        self._drawn = epoch
        spreads, errors = zip(*all_gather_object(mine))
        spread = np.concatenate(spreads)
        if is_main_process() and len(spread) and spread.any():
            wrong = np.concatenate(errors).astype(bool)
            _write(runner, SPREAD, spread_and_error(spread, wrong), epoch)


def _write(runner: Runner, name: str, figure: Figure, step: int) -> None:
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    pixels = np.ascontiguousarray(pixels)
    for backend in runner.visualizer._vis_backends.values():
        # MLflow takes no step, and a name whose ending is the format
        is_mlflow = isinstance(backend, MLflowVisBackend)
        backend.add_image(
            f'{name}_{step}.png' if is_mlflow else name, pixels, step
        )
