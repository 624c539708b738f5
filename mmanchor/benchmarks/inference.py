"""Answers to plain images to time, and whether they are right."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..models import fold_reference
from ..models.heads import mask_head
from ..models.inference.protocols import build_protocol
from ..utils.timing import full_precision
from .naive import differing, naive_mean, naive_transduction, untied_picks
from .settings import BenchmarkSettings
from .setup import Setup, normalised

SAME = 1e-3  # relative; float32 leaves 1e-4 and less


@dataclass
class Case:
    """Something to time.

    Attributes:
        label (str): As it is shown.
        work (Callable): Does it once.
        holders (Tuple): Models, optimizers and tensors it needs all along.
        naive (bool): Whether it is what others are measured against.
    """

    label: str
    work: Callable[[], Any]
    holders: tuple
    naive: bool = False


def inference_cases(
    setup: Setup, settings: BenchmarkSettings
) -> dict[str, Case]:
    """From normalised images to logits.

    Args:
        setup (Setup): Its models are copied.
        settings (BenchmarkSettings): What is timed.

    Returns:
        Dict[str, Case]: Without ``folded`` where there is no stem to fold.
    """
    cases = {}
    images = setup.images[: settings.batch_size]
    for name in _case_names(setup, settings):
        label, answer, holders = _answering(name, setup, settings)
        inputs = normalised(holders[0], images)
        cases[name] = Case(
            label,
            _in_evaluation(answer, inputs, settings),
            holders,
            name.startswith('naive'),
        )
    return cases


def _case_names(setup, settings):
    return [
        name
        for name in settings.of_group('test')
        if name != 'folded' or setup.anchored.stem
    ]


def _answering(name, setup, settings):
    """Label, function of images, and what it needs, on the device."""
    k, m = settings.num_references, settings.num_candidates
    device = settings.device
    if name == 'standard':
        model = copy.deepcopy(setup.plain).to(device).eval()
        return 'standard', model, (model,)
    if name == 'folded':
        model = fold_reference(_anchored(setup, 'single', 1, 'cpu')).to(device)
        return 'folded K=1', model, (model,)
    if name == 'single':
        model = _anchored(setup, 'single', 1, device)
        return 'K=1', model, (model,)
    if name == 'mean':
        model = _anchored(setup, 'mean', k, device)
        return f'K={k}', model, (model,)
    if name == 'adaptive':
        model = _anchored(setup, 'adaptive', k, device)
        return f'adaptive K≤{k}', model, (model,)
    if name == 'transduction':
        protocol = dict(
            type='transduction',
            num_candidates=m,
            num_residuals=settings.num_residuals,
            space='images',
        )
        model = _anchored(setup, protocol, m, device)
        return f'transduction M={m}', model, (model,)
    model = copy.deepcopy(setup.anchored).to(device).eval()
    if name == 'naive-mean':
        references = normalised(model, setup.references[:k])
        return (
            f'naive K={k}',
            lambda x: naive_mean(_of_rows(model), x, references),
            (model, references),
        )
    candidates, residuals = _searched(model, setup, settings)
    return (
        f'naive transduction M={m}',
        lambda x: naive_transduction(
            _of_rows(model), x, candidates, residuals
        ),
        (model, candidates, residuals),
    )


def _anchored(setup, protocol, num_references, device):
    """An anchored model of its own, whose bank has what it needs."""
    model = copy.deepcopy(setup.anchored)
    protocol = build_protocol(protocol)
    model.reference_bank.fill(setup.references[:num_references])
    model.reference_bank.fill_residuals(
        setup.residual_pairs[: protocol.num_residuals]
    )
    model.protocol = protocol
    return model.to(device).eval()


def _of_rows(model):
    """Logits of anchored rows, also where a head has several outputs."""
    return lambda rows: model.reference_logits(rows)[0]


def _searched(model, setup, settings):
    """Candidates and residuals, normalised."""
    candidates = normalised(model, setup.references[: settings.num_candidates])
    x, r = (
        normalised(model, images) for images in setup.residual_pairs.unbind(1)
    )
    return candidates, x - r


def _in_evaluation(answer, inputs, settings):

    @torch.no_grad()
    def work():
        with autocast(settings):
            return answer(inputs)

    return work


def autocast(settings: BenchmarkSettings) -> torch.autocast:
    """bfloat16 where it was asked for."""
    return torch.autocast(
        settings.device, torch.bfloat16, enabled=settings.amp
    )


@torch.no_grad()
def check_answers(
    setup: Setup, settings: BenchmarkSettings
) -> dict[str, float]:
    """See that what is timed answers as its naive counterpart, in float32.

    Args:
        setup (Setup): Its models are copied.
        settings (BenchmarkSettings): What is timed.

    Returns:
        Dict[str, float]: Relative difference by case, and the share of
        images for which transduction and the loop chose between candidates
        as near as each other.

    Raises:
        ValueError: A case answers otherwise.
    """
    model = copy.deepcopy(setup.anchored).to(settings.device).eval()
    images = normalised(model, setup.images[: settings.batch_size])
    references = normalised(model, setup.references)
    counts = dict(folded=1, single=1, mean=settings.num_references)
    found = {}
    with full_precision():
        for name in _case_names(setup, settings):
            if name not in (*counts, 'transduction'):
                continue
            _, answer, _ = _answering(name, setup, settings)
            logits = answer(images)
            if name == 'folded':  # a host's head may have several outputs
                head = mask_head(copy.deepcopy(answer.head))
                logits = head.logits(answer.extract_feat(images))
            if name == 'transduction':
                wrong, other = untied_picks(
                    _of_rows(model),
                    logits,
                    images,
                    *_searched(model, setup, settings),
                    SAME,
                )
                found['ties'] = other / len(images)
            else:
                expected = naive_mean(
                    _of_rows(model), images, references[: counts[name]]
                )
                wrong = int(differing(logits, expected, SAME).sum())
                found[name] = (
                    (logits - expected).norm() / expected.norm()
                ).item()
            if wrong:
                raise ValueError(
                    f'Expected {name} to answer as its naive counterpart, '
                    f'but {wrong} of {len(images)} answers differ by more '
                    f'than {SAME:g}. This is a bug of mmanchor: report it '
                    'with the config.'
                )
    return found


@torch.no_grad()
def mean_references(setup: Setup, settings: BenchmarkSettings) -> float:
    """How many references the adaptive protocol uses for an image."""
    _, model, _ = _answering('adaptive', setup, settings)
    images = normalised(model, setup.images[: settings.batch_size])
    with autocast(settings):
        samples = model.predict(images)
    return sum(int(s.num_references) for s in samples) / len(samples)
