"""Checks whether a config can be anchored, by building and training it."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.utils import to_2tuple
from mmpretrain.structures import DataSample
from torch.utils.flop_counter import FlopCounterMode

from ..functional import anchor, is_linear_in_weight
from ..utils.config import own_imports
from .plain_and_anchored import (
    build_model,
    build_optim_wrapper,
    fixed_seed,
    image_size,
    perturb_parameters,
    plain_and_anchored,
    silenced_log,
)

# The largest relative difference that counts as rounding: in float32, rounding
# causes 1e-4 at most.
EXACT = 1e-3
ADVICE = (
    'Perhaps a layer that was not widened reads the image or some of its '
    'channels. Name all layers that read it with `model = dict(stem=[...])`, '
    'or build the backbone for 2C channels: see docs/my-backbone.md.'
)


def warm_start_error(plain, model, size, folder) -> float | None:
    """Load plain weights into an anchored model, and compare their logits.

    None if the backbone was built for 2C channels, which plain weights do
    not fit.
    """
    path = os.path.join(folder, 'plain.pth')
    save_checkpoint(dict(state_dict=plain.state_dict()), path)
    try:
        load_checkpoint(model, path)
    except ValueError:
        if model.stem:
            raise
        return None  # a backbone built for 2C channels has to refuse them
    finally:
        os.remove(path)
    images, references = torch.randn(2, 2, model.image_channels, *size)
    references += torch.randn(2, model.image_channels, 1, 1)  # shift colours
    plain.eval(), model.eval()
    with torch.no_grad():
        expected = _flatten_outputs(plain(images))
        got = _flatten_outputs(model(anchor(images, references)))
    error = ((got - expected).norm() / expected.norm()).item()
    if not error < EXACT:
        raise ValueError(
            'Expected the anchored model to answer like the plain model whose '
            f'weights it loaded, but they differ by {error:.1e}, relatively. '
            f'{ADVICE}'
        )
    return error


@torch.no_grad()
def run_forward(model, channels, size) -> None:
    """Run a forward pass in evaluation mode."""
    model.eval()(torch.randn(1, channels, *size))


def _flatten_outputs(outputs) -> torch.Tensor:
    """Concatenate the outputs of heads or stages into one vector."""
    if isinstance(outputs, torch.Tensor):
        return outputs.flatten()
    return torch.cat([_flatten_outputs(output) for output in outputs])


def relative_costs(plain, model, size) -> tuple[float, float]:
    """Compute the extra parameters and FLOPs of the anchored model, in %."""
    images = torch.randn(1, model.image_channels, *size)
    parameters, flops = [], []
    for net, inputs in ((plain, images), (model, images.repeat(1, 2, 1, 1))):
        parameters.append(sum(p.numel() for p in net.parameters()))
        trained = [p for p in net.parameters() if p.requires_grad]
        # the counter fails at modules that are given a trained parameter
        for parameter in trained:
            parameter.requires_grad_(False)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(inputs)
        for parameter in trained:
            parameter.requires_grad_(True)
        flops.append(counter.get_total_flops())
    return tuple(
        100 * (ours / theirs - 1) for theirs, ours in (parameters, flops)
    )


def make_batch(model, batch_size, size) -> dict:
    """Make a batch of noise with labels 0 and 1."""
    images = torch.randint(
        256, (batch_size, model.image_channels, *size), dtype=torch.uint8
    )
    samples = [DataSample().set_gt_label(i % 2) for i in range(batch_size)]
    return dict(inputs=images, data_samples=samples)


def train_two_steps(model, cfg, batch) -> dict[float, float]:
    """Train a step without and one with masked references."""
    # Scale the learning rate to this small batch, as auto_scale_lr does.
    base_size = cfg.get('auto_scale_lr', {}).get('base_batch_size', 256)
    optim_wrapper = build_optim_wrapper(
        model, cfg, len(batch['inputs']) / base_size
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
                f'{losses[mask_prob]}. Lower the learning rate.'
            )
        for name, full in zip(model.stem, model.widened_layers):
            if name in gradients:
                linear = is_linear_in_weight(model.get_submodule(full))
                _check_gradient(name, gradients[name], mask_prob, linear)
    return losses


def _record_stem_gradients(model) -> dict[str, list[torch.Tensor]]:
    layers = dict(model.named_modules())
    gradients = {}
    for name, full in zip(model.stem, model.widened_layers):
        if layers[full].weight.requires_grad:
            gradients[name] = []
            layers[full].weight.register_hook(gradients[name].append)
    return gradients


def _check_gradient(name, gradients, mask_prob, linear=True) -> None:
    """Check which halves of a stem layer have a gradient.

    The residual's half always has one. The reference's half has one unless
    references are masked; if the layer standardises its weight, both halves
    have one in any case.
    """
    if not gradients:
        raise ValueError(
            f'Expected a gradient in {name}, but got none. {ADVICE}'
        )
    of_reference, of_residual = (
        half.abs().sum() for half in sum(gradients).chunk(2, dim=1)
    )
    masked = mask_prob == 1
    as_expected = (of_reference == 0) == masked or (masked and not linear)
    if not (of_residual.isfinite() and of_residual > 0 and as_expected):
        raise ValueError(
            f'Expected a gradient in the residual half of {name}, and in the '
            'reference half unless the reference is masked, but with '
            f'mask_prob={mask_prob} got sums of {of_reference:.1e} '
            f'(reference) and {of_residual:.1e} (residual). {ADVICE}'
        )


def check_round_trip(model, cfg, batch, folder) -> None:
    """Check that predictions survive saving, loading and sharing the stem."""
    model.reference_bank.fill(batch['inputs'].flip(0))
    path = os.path.join(folder, 'anchored.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), path)
    again = build_model(cfg)
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
            f'but they differ by {(first - second).abs().max()}. Report the '
            'config.'
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
            'Expected the same answers whether or not references share the '
            f'stem, but they differ by {error:.1e}, relatively. {ADVICE}'
        )


@dataclass
class BackboneReport:
    """The result of :func:`check_backbone`.

    Attributes:
        config (str): Path of the config.
        backbone (str): Class of the backbone.
        stem (List[str]): Layers that were widened; empty for a backbone built
            for 2C channels.
        warm_start_error (float, optional): Relative difference between the
            logits of the anchored model and of the plain model whose weights
            it loaded. None if the backbone refuses plain weights.
        losses (Dict[float, float]): Loss of a training step, by ``mask_prob``.
        extra_parameters (float): Additional parameters, in % of the plain
            model's.
        extra_flops (float): Additional FLOPs of a forward pass, in % of the
            plain model's.
        failure (str, optional): The step that failed, and the reason.
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
    """Anchor a config, warm-start, train two steps, save, load and predict.

    Images are noise. Weights are freshly initialised, without pretrained
    files, and perturbed, because constant weights would hide a difference.
    If a step fails, the report has a ``failure``.

    Args:
        config (str | Path): A plain config, to which the README's four lines
            are added, or an anchored config.
        size (int, optional): Height and width of the images. Defaults to
            None: the config's.
        batch_size (int): Number of images in a batch. Defaults to 2.
        options (dict, optional): Changes to the config, such as
            ``{'model.backbone.depth': 18}``. Defaults to None.
    """
    report = BackboneReport(str(config))
    init_default_scope('mmpretrain')
    step = 'load the config'
    try:
        with (
            fixed_seed(),
            silenced_log(),
            tempfile.TemporaryDirectory() as folder,
        ):
            plain_cfg, cfg = plain_and_anchored(config, options)
            report.imports = own_imports(plain_cfg or cfg)
            size = to_2tuple(size or image_size(cfg))
            plain = None
            if plain_cfg is not None:
                step = 'build the plain model'
                plain = build_model(plain_cfg)
                report.backbone = type(plain.backbone).__name__
                plain.init_weights()
                perturb_parameters(plain)
            step = 'anchor it'
            model = build_model(cfg)
            model.init_weights()
            report.backbone = type(model.backbone).__name__
            report.stem = model.stem
            if plain is not None:
                step = 'run the plain model'
                run_forward(plain, model.image_channels, size)
                step = 'run it anchored'
                run_forward(model, 2 * model.image_channels, size)
                step = 'warm-start it'
                report.warm_start_error = warm_start_error(
                    plain, model, size, folder
                )
                report.extra_parameters, report.extra_flops = relative_costs(
                    plain, model, size
                )
                del plain
            step = 'train it'
            if not model.with_head:
                raise ValueError(
                    'Expected a `head`, but got none. Add one to `model`.'
                )
            batch = make_batch(model, batch_size, size)
            report.losses = train_two_steps(model, cfg, batch)
            step = 'save, load and predict'
            check_round_trip(model, cfg, batch, folder)
    except Exception as error:  # a user's config may raise anything
        report.failure = f'{step}: {type(error).__name__}: {error}'
        if step == 'run it anchored':
            report.failure += f' {ADVICE}'
    return report
