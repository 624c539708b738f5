"""The single steps of :func:`~.backbone_check.check_backbone`."""

import os
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, load_checkpoint, save_checkpoint
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..functional import anchor

EXACT = 1e-3  # relative; float32 leaves 1e-4 and less
ADVICE = (
    'Does the image, or one of its channels, pass a layer that was not '
    'widened? Name the layers that read it, `model = dict(stem=[...])`,'
    ' or build the backbone for 2C channels: docs/my-backbone.md.'
)


def build(cfg: Config) -> nn.Module:
    model = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model)


def warm_start(plain, model, size, folder) -> float | None:
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
    error = ((got - expected).norm() / expected.norm()).item()
    if not error < EXACT:
        raise ValueError(
            'Expected the anchored model to answer as the plain one whose '
            f'weights it has, but the relative difference is {error:.1e}. '
            f'{ADVICE}'
        )
    return error


@torch.no_grad()
def run(model, channels, size) -> None:
    """Go through a model in evaluation mode."""
    model.eval()(torch.randn(1, channels, *size))


def _flat(outputs) -> torch.Tensor:
    """Heads may have two outputs, and backbones one a stage."""
    if isinstance(outputs, torch.Tensor):
        return outputs.flatten()
    return torch.cat([_flat(output) for output in outputs])


def costs(plain, model, size) -> tuple[float, float]:
    images = torch.randn(1, model.image_channels, *size)
    parameters, flops = [], []
    for net, inputs in ((plain, images), (model, images.repeat(1, 2, 1, 1))):
        parameters.append(sum(p.numel() for p in net.parameters()))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(inputs)
        flops.append(counter.get_total_flops())
    return tuple(
        100 * (ours / theirs - 1) for theirs, ours in (parameters, flops)
    )


def make_batch(model, batch_size, size) -> dict:
    images = torch.randint(
        256, (batch_size, model.image_channels, *size), dtype=torch.uint8
    )
    samples = [
        DataSample().set_gt_label(index % 2) for index in range(batch_size)
    ]
    return dict(inputs=images, data_samples=samples)


def train(model, cfg, batch) -> dict[float, float]:
    """A step with masked references and one without, by the own optimizer."""
    # meant for many images: scaled linearly, as the host's auto_scale_lr does
    meant_for = cfg.get('auto_scale_lr', {}).get('base_batch_size', 256)
    optim_wrapper = build_optim_wrapper(
        model, cfg, len(batch['inputs']) / meant_for
    )
    gradients = _record_stem_gradients(model)
    losses = {}
    model.train()
    for mask_prob in (0.0, 1.0):
        model.data_preprocessor.mask_prob = mask_prob
        for of_layer in gradients.values():
            of_layer.clear()
        logged = model.train_step(dict(batch), optim_wrapper)
        losses[mask_prob] = logged['loss'].item()
        if not logged['loss'].isfinite():
            raise ValueError(
                f'Expected a finite loss with mask_prob={mask_prob}, but got '
                f'{losses[mask_prob]}.'
            )
        for name, of_layer in gradients.items():
            _check_gradient(name, of_layer, mask_prob)
    return losses


def build_optim_wrapper(model, cfg: Config, lr_scale: float) -> OptimWrapper:
    """The config's optimizer, whatever its precision and sharding."""
    optim_wrapper = dict(
        cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=0.01))
    )
    optim_wrapper['type'] = 'OptimWrapper'
    optimizer = optim_wrapper['optimizer'] = dict(optim_wrapper['optimizer'])
    if 'lr' in optimizer:
        optimizer['lr'] *= lr_scale
    for key in ('loss_scale', 'dtype', 'use_fsdp', 'accumulative_counts'):
        optim_wrapper.pop(key, None)
    return Runner.build_optim_wrapper(
        SimpleNamespace(model=model), optim_wrapper
    )


def _record_stem_gradients(model) -> dict[str, list[torch.Tensor]]:
    layers = dict(model.named_modules())
    gradients = {}
    for name, full in zip(model.stem, model.widened_layers):
        if layers[full].weight.requires_grad:
            gradients[name] = []
            layers[full].weight.register_hook(gradients[name].append)
    return gradients


def _check_gradient(name, gradients, mask_prob) -> None:
    """The residual's half learns always, the reference's when not masked."""
    if not gradients:
        raise ValueError(
            f'Expected a gradient in {name}, but got none. {ADVICE}'
        )
    of_reference, of_residual = (
        half.abs().sum() for half in sum(gradients).chunk(2, dim=1)
    )
    masked = mask_prob == 1
    if not (
        of_residual.isfinite()
        and of_residual > 0
        and (of_reference == 0) == masked
    ):
        raise ValueError(
            f'Expected a gradient in both halves of {name}, but in that of '
            'the reference where it is masked, but with '
            f'mask_prob={mask_prob} got sums of {of_reference:.1e} '
            f'(reference) and {of_residual:.1e} (residual). {ADVICE}'
        )


def round_trip(model, cfg, batch, folder) -> None:
    model.reference_bank.fill(batch['inputs'].flip(0))
    path = os.path.join(folder, 'anchored.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), path)
    again = build(cfg)
    load_checkpoint(again, path)
    batch['data_samples'] = None
    with torch.no_grad():
        first, second = (
            torch.stack(
                [s.pred_score for s in net.eval().test_step(dict(batch))]
            )
            for net in (model, again)
        )
    if not (first.isfinite().all() and torch.equal(first, second)):
        raise ValueError(
            'Expected the same predictions from a saved and loaded model, '
            f'but they differ by {(first - second).abs().max()}.'
        )
    images = model.data_preprocessor(dict(inputs=batch['inputs']))['inputs']
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use)
    )['inputs']
    with torch.no_grad():
        together = model.reference_logits(images)
        apart = torch.stack(
            [
                model.reference_logits(anchor(images, r.expand_as(images)))[0]
                for r in references
            ]
        )
    error = ((together - apart).norm() / apart.norm()).item()
    if not error < EXACT:
        raise ValueError(
            'Expected the same answers to plain images, whose stem is shared '
            'by all references, and to images anchored one by one, but the '
            f'relative difference is {error:.1e}. {ADVICE}'
        )
