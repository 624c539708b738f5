"""Whether anchoring a config works, found out by doing it."""
import logging
import os
import tempfile
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Optional, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint, save_checkpoint
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from ..functional import anchor
from .config_pair import image_size, plain_and_anchored

EXACT = 1e-3  # relative; float32 leaves 1e-4 and less


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
    """
    config: str
    backbone: str = ''
    stem: List[str] = field(default_factory=list)
    warm_start_error: Optional[float] = None
    losses: Dict[float, float] = field(default_factory=dict)
    extra_parameters: Optional[float] = None
    extra_flops: Optional[float] = None
    failure: Optional[str] = None


def check_backbone(config: Union[str, Path],
                   size: Optional[int] = None,
                   batch_size: int = 2,
                   options: Optional[dict] = None) -> BackboneReport:
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
        with torch.random.fork_rng(devices=[]), _quiet(), \
                tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            plain_cfg, cfg = plain_and_anchored(config, options)
            size = _pair(size or image_size(cfg))
            step = 'build the plain model'
            plain = _build(plain_cfg)
            report.backbone = type(plain.backbone).__name__
            plain.init_weights()
            _shake(plain)
            step = 'anchor it'
            model = _build(cfg)
            model.init_weights()
            report.stem = model.stem
            step = 'warm-start it'
            report.warm_start_error = _warm_start(plain, model, size, folder)
            if not (report.warm_start_error or 0) < EXACT:
                raise ValueError(
                    'Expected the anchored model to answer as the plain one '
                    f'whose weights it has, but the relative difference is '
                    f'{report.warm_start_error:.1e}. {_ADVICE}')
            report.extra_parameters, report.extra_flops = _costs(
                plain, model, size)
            del plain
            step = 'train it'
            if not model.with_head:
                raise ValueError('Expected a `head`, but there is none.')
            batch = _batch(model, batch_size, size)
            report.losses = _train(model, cfg, batch)
            step = 'save, load and predict'
            _round_trip(model, cfg, batch, folder)
    except Exception as error:  # whatever a user's config may raise
        report.failure = f'{step}: {type(error).__name__}: {error}'
    return report


_ADVICE = ('Does the image pass a layer that was not widened? Name the '
           'layers that read it: `model = dict(stem=[...])`.')


def _pair(size) -> Tuple[int, int]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


@contextmanager
def _quiet():
    """Without the host's log, which repeats itself with every model."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


def _build(cfg: Config) -> nn.Module:
    model = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model)


@torch.no_grad()
def _shake(model: nn.Module) -> None:
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


def _warm_start(plain, model, size, folder) -> Optional[float]:
    path = os.path.join(folder, 'plain.pth')
    save_checkpoint(dict(state_dict=plain.state_dict()), path)
    try:
        load_checkpoint(model, path)
    except ValueError:
        if model.stem:
            raise
        return None  # built for 2C channels: refused, as it has to be
    finally:
        os.remove(path)
    images, references = torch.randn(2, 2, model.image_channels, *size)
    references += torch.randn(2, model.image_channels, 1, 1)  # other colours
    plain.eval(), model.eval()
    with torch.no_grad():
        expected = _flat(plain(images))
        got = _flat(model(anchor(images, references)))
    return ((got - expected).norm() / expected.norm()).item()


def _flat(outputs) -> torch.Tensor:
    """Heads may have two outputs, and backbones one a stage."""
    if isinstance(outputs, torch.Tensor):
        return outputs.flatten()
    return torch.cat([_flat(output) for output in outputs])


def _costs(plain, model, size) -> Tuple[float, float]:
    images = torch.randn(1, model.image_channels, *size)
    parameters, flops = [], []
    for net, inputs in ((plain, images), (model, images.repeat(1, 2, 1, 1))):
        parameters.append(sum(p.numel() for p in net.parameters()))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(inputs)
        flops.append(counter.get_total_flops())
    return tuple(100 * (ours / theirs - 1)
                 for theirs, ours in (parameters, flops))


def _batch(model, batch_size, size) -> dict:
    images = torch.randint(
        256, (batch_size, model.image_channels, *size), dtype=torch.uint8)
    samples = [
        DataSample().set_gt_label(index % 2) for index in range(batch_size)
    ]
    return dict(inputs=images, data_samples=samples)


def _train(model, cfg, batch) -> Dict[float, float]:
    """A step with masked references and one without, by the own optimizer."""
    optim_wrapper = dict(
        cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=0.01)))
    optim_wrapper['type'] = 'OptimWrapper'  # whatever precision and sharding
    # meant for many images: scaled linearly, as the host's auto_scale_lr does
    meant_for = cfg.get('auto_scale_lr', {}).get('base_batch_size', 256)
    optimizer = optim_wrapper['optimizer'] = dict(optim_wrapper['optimizer'])
    if 'lr' in optimizer:
        optimizer['lr'] *= len(batch['inputs']) / meant_for
    for key in ('loss_scale', 'dtype', 'use_fsdp', 'accumulative_counts'):
        optim_wrapper.pop(key, None)
    optim_wrapper = Runner.build_optim_wrapper(
        SimpleNamespace(model=model), optim_wrapper)
    gradients = _record_stem_gradients(model)
    losses = {}
    model.train()
    for mask_prob in (0., 1.):
        model.data_preprocessor.mask_prob = mask_prob
        for of_layer in gradients.values():
            of_layer.clear()
        logged = model.train_step(dict(batch), optim_wrapper)
        losses[mask_prob] = logged['loss'].item()
        if not logged['loss'].isfinite():
            raise ValueError(
                f'Expected a finite loss with mask_prob={mask_prob}, but got '
                f'{losses[mask_prob]}.')
        for name, of_layer in gradients.items():
            _check_gradient(name, of_layer, mask_prob)
    return losses


def _record_stem_gradients(model) -> Dict[str, List[torch.Tensor]]:
    layers = dict(model.backbone.named_modules())
    gradients = {}
    for name in model.stem:
        if layers[name].weight.requires_grad:
            gradients[name] = []
            layers[name].weight.register_hook(gradients[name].append)
    return gradients


def _check_gradient(name, gradients, mask_prob) -> None:
    """The residual's half learns always, the reference's when not masked."""
    if not gradients:
        raise ValueError(f'Expected a gradient in {name}, but got none. '
                         f'{_ADVICE}')
    of_reference, of_residual = (
        half.abs().sum() for half in sum(gradients).chunk(2, dim=1))
    masked = mask_prob == 1
    if not (of_residual.isfinite() and of_residual > 0 and
            (of_reference == 0) == masked):
        raise ValueError(
            f'Expected a gradient in both halves of {name}, but in that of '
            'the reference where it is masked, but with '
            f'mask_prob={mask_prob} got sums of {of_reference:.1e} '
            f'(reference) and {of_residual:.1e} (residual). {_ADVICE}')


def _round_trip(model, cfg, batch, folder) -> None:
    model.reference_bank.fill(batch['inputs'].flip(0))
    path = os.path.join(folder, 'anchored.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), path)
    again = _build(cfg)
    load_checkpoint(again, path)
    batch['data_samples'] = None
    with torch.no_grad():
        first, second = (
            torch.stack(
                [s.pred_score for s in net.eval().test_step(dict(batch))])
            for net in (model, again))
    if not (first.isfinite().all() and torch.equal(first, second)):
        raise ValueError(
            'Expected the same predictions from a saved and loaded model, '
            f'but they differ by {(first - second).abs().max()}.')
