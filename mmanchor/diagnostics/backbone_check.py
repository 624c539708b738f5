"""Whether anchoring a config works, found out by doing it."""

import logging
import random
import tempfile
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..utils.config import own_imports
from .backbone_trial import (
    ADVICE,
    build,
    costs,
    make_batch,
    round_trip,
    run,
    train,
    warm_start,
)
from .config_pair import image_size, plain_and_anchored


@dataclass
class BackboneReport:
    """What :func:`check_backbone` found.

    Attributes:
        config (str): The config's path.
        backbone (str): Class of the backbone.
        stem (List[str]): Layers that were widened; none in a backbone built
            for 2C channels.
        warm_start_error (float, optional): Relative difference between the
            anchored model's logits and the plain model's whose weights it
            has. None: plain weights are refused, with a reason.
        losses (Dict[float, float]): Loss of a training step by ``mask_prob``.
        extra_parameters (float): Over the plain model's, in %.
        extra_flops (float): Of a forward pass, over the plain model's, in %.
        failure (str, optional): The step that failed and why.
        imports (List[str]): Modules that the config imports.
    """

    config: str
    backbone: str = ''
    stem: list[str] = field(default_factory=list)
    warm_start_error: float | None = None
    losses: dict[float, float] = field(default_factory=dict)
    extra_parameters: float | None = None
    extra_flops: float | None = None
    failure: str | None = None
    imports: list[str] = field(default_factory=list)


def check_backbone(
    config: str | Path,
    size: int | None = None,
    batch_size: int = 2,
    options: dict | None = None,
) -> BackboneReport:
    """Anchor a config, warm-start, train a step, save, load and predict.

    Images are noise. Weights are as initialised, without any pretrained file,
    and moved a little, so that no zero hides a difference.

    Args:
        config (str | Path): A plain config, which gets the four lines, or an
            anchored one.
        size (int, optional): Of the images. Defaults to None: the config's.
        batch_size (int): Images in a batch. Defaults to 2.
        options (dict, optional): Changes to the config, as
            ``{'model.backbone.depth': 18}``. Defaults to None.

    Returns:
        BackboneReport: With ``failure`` where a step did not work.
    """
    report = BackboneReport(str(config))
    init_default_scope('mmpretrain')
    step = 'load the config'
    try:
        with seeded(), quiet(), tempfile.TemporaryDirectory() as folder:
            plain_cfg, cfg = plain_and_anchored(config, options)
            report.imports = own_imports(plain_cfg or cfg)
            size = pair(size or image_size(cfg))
            plain = None
            if plain_cfg is not None:
                step = 'build the plain model'
                plain = build(plain_cfg)
                report.backbone = type(plain.backbone).__name__
                plain.init_weights()
                shake(plain)
            step = 'anchor it'
            model = build(cfg)
            model.init_weights()
            report.backbone = type(model.backbone).__name__
            report.stem = model.stem
            if plain is not None:
                step = 'run the plain model'
                run(plain, model.image_channels, size)
                step = 'run it anchored'
                run(model, 2 * model.image_channels, size)
                step = 'warm-start it'
                report.warm_start_error = warm_start(
                    plain, model, size, folder
                )
                report.extra_parameters, report.extra_flops = costs(
                    plain, model, size
                )
                del plain
            step = 'train it'
            if not model.with_head:
                raise ValueError('Expected a `head`, but there is none.')
            batch = make_batch(model, batch_size, size)
            report.losses = train(model, cfg, batch)
            step = 'save, load and predict'
            round_trip(model, cfg, batch, folder)
    except Exception as error:  # whatever a user's config may raise
        report.failure = f'{step}: {type(error).__name__}: {error}'
        if step == 'run it anchored':
            report.failure += f' {ADVICE}'
    return report


def pair(size) -> tuple[int, int]:
    """Height and width of what may be one number."""
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


@contextmanager
def seeded(seed: int = 0):
    """A seed for all that draws, and the caller's draws as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            set_random_seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def quiet():
    """Without the host's log, which repeats itself with every model."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Away from the start, where zeros and ones hide what layers do."""
    for parameter in model.parameters():
        if parameter.numel() > 1 and parameter.min() == parameter.max():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for parameter in model.head.parameters() if model.with_head else ():
        parameter.normal_(0, 0.02)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
