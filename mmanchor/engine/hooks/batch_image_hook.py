"""Sends pictures of training batches to TensorBoard and other loggers."""

import copy
import random

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..batch_figure import (
    batch_figure,
    batch_images,
    masks_uniformly,
    reads_bgr,
    spread_histogram,
)
from ..reference_source import only_plots_schedule

BATCH, SPREAD = 'train/batch', 'val/spread'


@HOOKS.register_module()
class BatchImageHook(Hook):
    """Send pictures to MMEngine's ``Visualizer`` every few epochs.

    One picture shows the first training batch as the network receives it; see
    :func:`~mmanchor.engine.batch_figure.batch_images`. Another is a histogram
    of the spread over references in validation, of right and of wrong
    predictions, if the model has a spread. The hook does not change the
    training in any bit. Of several ranks, the first sends its pictures.

    Args:
        interval (int): Number of epochs between pictures. Defaults to 1.
        images (int): Number of images of the batch, from its start. Defaults
            to 8.

    Raises:
        ValueError: An argument is below 1.

    Example:
        >>> custom_hooks = [dict(type='BatchImageHook', interval=10)]
    """

    def __init__(self, interval: int = 1, images: int = 8):
        for name, value in (('interval', interval), ('images', images)):
            if value < 1:
                raise ValueError(
                    f'Expected `{name}` of BatchImageHook to be at least 1, '
                    f'but got {value}. Change it.'
                )
        self.interval, self.images = interval, images
        self._spread: list[float] = []
        self._wrong: list[bool] = []

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
        """Draw the spread of right and wrong predictions."""
        spread, wrong = np.array(self._spread), np.array(self._wrong, bool)
        self._spread, self._wrong = [], []
        if is_main_process() and len(spread) and spread.any():
            figure = spread_histogram(spread, wrong)
            _write(runner, SPREAD, figure, runner.epoch)


def _write(runner: Runner, name: str, figure: Figure, step: int) -> None:
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    runner.visualizer.add_image(name, np.ascontiguousarray(pixels), step)
