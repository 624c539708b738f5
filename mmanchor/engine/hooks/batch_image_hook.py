"""Pictures of training and validation for TensorBoard and other loggers."""

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
    masks_uniformly,
    reads_bgr,
    see_batch,
    spread_histogram,
)
from ..reference_source import only_plots_schedule

BATCH, SPREAD = 'train/batch', 'val/spread'


@HOOKS.register_module()
class BatchImageHook(Hook):
    """Write pictures through MMEngine's ``Visualizer`` every few epochs.

    The first training batch as the network sees it (see
    :func:`~mmanchor.engine.batch_figure.see_batch`), and the spread over
    references of right and of wrong answers in validation, where the model
    has one. Training itself is the same to the bit with and without the hook.
    Of several ranks the first shows what it has.

    Args:
        interval (int): Epochs between pictures. Defaults to 1.
        images (int): Of the batch, the first so many. Defaults to 8.

    Raises:
        ValueError: A number is below 1.

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
        held = getattr(preprocessor, 'reference_set', None)
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng():
            # a copy: draws are counted; its references need not be copied
            seen = see_batch(
                copy.deepcopy(preprocessor, {id(held): held}),
                copy.deepcopy(data_batch),
                self.images,
                runner.train_dataloader.dataset.metainfo.get('classes'),
                reads_bgr(runner.cfg) and not preprocessor.to_rgb,
                masks_uniformly(model),
            )
        random.setstate(states[0])
        np.random.set_state(states[1])
        _write(runner, BATCH, batch_figure([seen]), epoch)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Keep the spread of each image."""
        for one in outputs or ():
            if 'pred_std' in one and 'gt_label' in one:
                self._spread.append(float(one.pred_std.mean()))
                label = int(one.pred_label)
                self._wrong.append(label not in one.gt_label.tolist())

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Draw the spread of right and wrong answers."""
        spread, wrong = np.array(self._spread), np.array(self._wrong, bool)
        self._spread, self._wrong = [], []
        if is_main_process() and len(spread) and spread.any():
            figure = spread_histogram(spread, wrong)
            _write(runner, SPREAD, figure, runner.epoch)


def _write(runner: Runner, name: str, figure: Figure, step: int) -> None:
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    runner.visualizer.add_image(name, np.ascontiguousarray(pixels), step)
