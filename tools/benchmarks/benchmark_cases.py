"""Builds the cases of a benchmark: training steps and predictions to time."""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from benchmark_settings import BenchmarkSettings
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.runner import load_checkpoint
from mmengine.utils import to_2tuple
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from naive_anchoring import (
    count_wrong_choices,
    naive_mean,
    naive_training_rows,
    naive_transduction,
    rows_differ,
)
from time_and_memory import full_precision
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmanchor.checkpoints.safe_loading import checkpoint_loading
from mmanchor.diagnostics.plain_and_anchored import (
    build_model,
    build_optim_wrapper,
    image_size,
    perturb_parameters,
    plain_and_anchored,
)
from mmanchor.models import fold_reference
from mmanchor.models.heads import mask_head
from mmanchor.models.inference.protocols import build_protocol

# The largest relative difference between two implementations that counts as
# rounding: in float32, rounding causes 1e-4 at most.
TOLERANCE = 1e-3
# The optimizer does all of its work, but the weights stay almost the same, and
# so does the time of a step.
LR_SCALE = 1e-6


@dataclass
class ModelPair:
    """A standard and an anchored model with equal weights, and their images.

    All of it is on the CPU.

    Attributes:
        plain (torch.nn.Module): The standard model.
        anchored (torch.nn.Module): The anchored model.
        plain_cfg (Config): The config of the standard model.
        cfg (Config): The config of the anchored model.
        images (torch.Tensor): Images to train on and to predict, of shape
            (at least B, C, H, W).
        references (torch.Tensor): References and candidates.
        residual_pairs (torch.Tensor): Pairs of images whose differences are
            the residuals that transduction compares with, of shape
            (N, 2, C, H, W).
    """

    plain: nn.Module
    anchored: nn.Module
    plain_cfg: Config
    cfg: Config
    images: torch.Tensor
    references: torch.Tensor
    residual_pairs: torch.Tensor


@dataclass
class Case:
    """A call to time.

    Attributes:
        label (str): The name in tables and figures.
        call (Callable): Takes no arguments and does the work once.
        owners (Tuple): Models, optimizers and tensors whose memory counts.
        naive (bool): Whether it is a naive implementation.
    """

    label: str
    call: Callable[[], Any]
    owners: tuple
    naive: bool = False


def build_model_pair(
    config: str,
    settings: BenchmarkSettings,
    checkpoint: str | None = None,
    options: dict | None = None,
    allow_code: bool = False,
) -> ModelPair:
    """Build the models of a config, and make images for them.

    Args:
        config (str): A plain or an anchored config; ``mmpretrain::`` and a
            path name one of MMPretrain's.
        settings (BenchmarkSettings): Sizes, counts and the seed.
        checkpoint (str, optional): Weights of the anchored or of the plain
            model. Defaults to None: fresh weights, where the reference's half
            of the stem is perturbed, so that references change the output.
        options (dict, optional): Changes to the config. Defaults to None.
        allow_code (bool): Run the code that the checkpoint contains, if any.
            Defaults to False.

    Raises:
        ValueError: The config has no classifier, no plain counterpart or no
            head, or its test images have another size.
    """
    plain_cfg, cfg = plain_and_anchored(config, options)
    if plain_cfg is None:
        raise ValueError(
            'Expected a config with a plain counterpart to compare with, but '
            f'the backbone of {config} was built for 2C channels by hand. '
            'Change `stem` and `image_channels`, or compare by hand.'
        )
    plain, model = build_model(plain_cfg), build_model(cfg)
    if not model.with_head:
        raise ValueError(
            f'Expected {config} to have a `head`, but it has none. Add one.'
        )
    plain.init_weights()
    model.init_weights()
    perturb_parameters(plain)
    if checkpoint is not None:
        with checkpoint_loading(allow_code):
            load_checkpoint(model, checkpoint)
        _copy_matching_weights(model, plain)
    elif model.stem:
        model.load_state_dict(plain.state_dict(), strict=False)
        _perturb_reference_half(model)
    else:
        perturb_parameters(model)
    counts = (
        4 * settings.batch_size,
        max(settings.num_references, settings.num_candidates),
        2 * settings.num_residuals,
    )
    size = to_2tuple(settings.size or image_size(cfg))
    images, references, pairs = _make_images(
        cfg, settings, (model.image_channels, *size), sum(counts)
    ).split(counts)
    if checkpoint is not None:  # Use the checkpoint's own references first.
        own = model.reference_bank.images
        if own.shape[1:] == references.shape[1:]:
            references = torch.cat([own.to(references), references])
            references = references[: counts[1]]
    return ModelPair(
        plain,
        model,
        plain_cfg,
        cfg,
        images,
        references,
        pairs.unflatten(0, (-1, 2)),
    )


def _copy_matching_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights whose name and shape are the same in both models."""
    own = target.state_dict()
    target.load_state_dict(
        {
            key: value
            for key, value in source.state_dict().items()
            if key in own and own[key].shape == value.shape
        },
        strict=False,
    )


@torch.no_grad()
def _perturb_reference_half(model) -> None:
    for name in model.widened_layers:
        half, _ = model.get_submodule(name).weight.chunk(2, 1)
        half += 0.3 * half.std() * torch.randn_like(half)


def _make_images(cfg, settings, shape, count) -> torch.Tensor:
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.data == 'noise':
        return torch.randint(
            256, (count, *shape), generator=generator, dtype=torch.uint8
        )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    order = torch.randperm(len(dataset), generator=generator)
    order = order.repeat(-(-count // len(order)))[:count]
    images = [dataset[int(index)]['inputs'] for index in order]
    shapes = {tuple(image.shape) for image in images}
    if shapes != {tuple(shape)}:
        raise ValueError(
            f'Expected test images of shape {tuple(shape)}, but got '
            f'{sorted(shapes)[0]}. Change --size, or the test pipeline.'
        )
    return torch.stack(images)


class _InMemoryDataset(Dataset):
    """Images in memory, whose labels go through the classes in turn."""

    def __init__(self, images: torch.Tensor, num_classes: int):
        self.images = images
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        sample = DataSample().set_gt_label(index % self.num_classes)
        return dict(inputs=self.images[index], data_samples=sample)


def endless_batches(
    images: torch.Tensor,
    num_classes: int,
    batch_size: int,
    pin_memory: bool,
    seed: int,
) -> Iterator[dict]:
    """Yield batches of a shuffling data loader without an end.

    Args:
        images (torch.Tensor): The images of the loader.
        num_classes (int): Labels are 0 to ``num_classes - 1``, in turn.
        batch_size (int): Number of images in a batch.
        pin_memory (bool): Whether batches are in pinned memory.
        seed (int): Seed of the order.

    Shape:
        - images: (at least ``batch_size``, C, H, W)
    """
    loader = DataLoader(
        _InMemoryDataset(images, num_classes),
        batch_size,
        shuffle=True,
        drop_last=True,
        pin_memory=pin_memory,
        collate_fn=default_collate,
        generator=torch.Generator().manual_seed(seed),
    )
    while True:
        yield from loader


def normalise_images(model, images: torch.Tensor) -> torch.Tensor:
    """Normalise images with a model's preprocessor, on the model's device.

    Shape:
        - images, output: (B, C, H, W)
    """
    with torch.no_grad():
        return model.data_preprocessor(dict(inputs=images))['inputs']


def autocast(settings: BenchmarkSettings) -> torch.autocast:
    """Return a context that computes in bfloat16 if the settings say so."""
    return torch.autocast(
        settings.device, torch.bfloat16, enabled=settings.amp
    )


def training_cases(
    pair: ModelPair, settings: BenchmarkSettings
) -> dict[str, Case]:
    """Build training steps, from the loader's batch to the optimizer's step.

    Args:
        pair (ModelPair): Models, which are copied, and images.
        settings (BenchmarkSettings): The cases, batch size, device and seed.
    """
    cases = {}
    for name in settings.cases_of_group('train'):
        batches = _training_batches(pair, settings, settings.seed)
        cfg = pair.cfg if name == 'anchored' else pair.plain_cfg
        if name == 'naive':
            model = _plain_model_with_wide_backbone(pair)
            prepare = _naive_preparation(model, batches, pair, settings)
        else:
            model = copy.deepcopy(
                pair.plain if name == 'standard' else pair.anchored
            )
            prepare = _preparation(model, batches)
        model.to(settings.device).train()
        optimizer = build_optim_wrapper(model, cfg, LR_SCALE)
        cases[name] = Case(
            name,
            _training_step(model, optimizer, prepare, settings),
            (model, optimizer.optimizer),
            name == 'naive',
        )
    return cases


def _training_batches(pair, settings, seed):
    return endless_batches(
        pair.images,
        pair.anchored.head.num_classes,
        settings.batch_size,
        settings.device == 'cuda',
        seed,
    )


def _plain_model_with_wide_backbone(pair):
    """Build MMPretrain's classifier around a backbone for 2C channels."""
    model = build_model(pair.plain_cfg)
    model.backbone = copy.deepcopy(pair.anchored.backbone)
    _copy_matching_weights(pair.anchored, model)
    return model


def _preparation(model, batches):
    return lambda: model.data_preprocessor(next(batches), training=True)


def _naive_preparation(model, batches, pair, settings):
    other_batches = _training_batches(pair, settings, settings.seed + 1)
    generator = random.Random(settings.seed)
    mask_prob = pair.anchored.data_preprocessor.mask_prob

    def prepare():
        data = model.data_preprocessor(next(batches), training=True)
        references = normalise_images(model, next(other_batches)['inputs'])
        data['inputs'] = naive_training_rows(
            data['inputs'], references, generator.random() < mask_prob
        )
        return data

    return prepare


def _training_step(model, optimizer, prepare, settings):

    def step():
        data = prepare()
        with autocast(settings):
            losses = model(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)

    return step


def prediction_cases(
    pair: ModelPair, settings: BenchmarkSettings
) -> dict[str, Case]:
    """Build predictions, from normalised images to logits.

    Args:
        pair (ModelPair): Models, which are copied, and images.
        settings (BenchmarkSettings): The cases, their counts and the device.

    Returns:
        Dict[str, Case]: The cases by name, without ``folded`` if there is no
        stem to fold.
    """
    cases = {}
    images = pair.images[: settings.batch_size]
    for name in _prediction_names(pair, settings):
        label, predict, owners = _predictor(name, pair, settings)
        inputs = normalise_images(owners[0], images)
        cases[name] = Case(
            label,
            _prediction(predict, inputs, settings),
            owners,
            name.startswith('naive'),
        )
    return cases


def _prediction_names(pair, settings):
    return [
        name
        for name in settings.cases_of_group('test')
        if name != 'folded' or pair.anchored.stem
    ]


def _predictor(name, pair, settings):
    """Return a label, a function of images, and the owners of its memory."""
    k, m = settings.num_references, settings.num_candidates
    device = settings.device
    if name == 'standard':
        model = copy.deepcopy(pair.plain).to(device).eval()
        return 'standard', model, (model,)
    if name == 'folded':
        model = fold_reference(_anchored(pair, 'single', 1, 'cpu')).to(device)
        return 'folded K=1', model, (model,)
    if name == 'single':
        model = _anchored(pair, 'single', 1, device)
        return 'K=1', model, (model,)
    if name == 'mean':
        model = _anchored(pair, 'mean', k, device)
        return f'K={k}', model, (model,)
    if name == 'adaptive':
        model = _anchored(pair, 'adaptive', k, device)
        return f'adaptive K≤{k}', model, (model,)
    if name == 'transduction':
        protocol = dict(
            type='transduction',
            num_candidates=m,
            num_residuals=settings.num_residuals,
            space='images',
        )
        model = _anchored(pair, protocol, m, device)
        return f'transduction M={m}', model, (model,)
    model = copy.deepcopy(pair.anchored).to(device).eval()
    if name == 'naive-mean':
        references = normalise_images(model, pair.references[:k])
        return (
            f'naive K={k}',
            lambda x: naive_mean(_row_logits(model), x, references),
            (model, references),
        )
    candidates, residuals = _candidates_and_residuals(model, pair, settings)
    return (
        f'naive transduction M={m}',
        lambda x: naive_transduction(
            _row_logits(model), x, candidates, residuals
        ),
        (model, candidates, residuals),
    )


def _anchored(pair, protocol, num_references, device):
    """Copy the anchored model, and fill its bank for a protocol."""
    model = copy.deepcopy(pair.anchored)
    protocol = build_protocol(protocol)
    model.reference_bank.fill(pair.references[:num_references])
    model.reference_bank.fill_residuals(
        pair.residual_pairs[: protocol.num_residuals]
    )
    model.protocol = protocol
    return model.to(device).eval()


def _row_logits(model):
    """Return a function from anchored rows to logits.

    It also works for a head with several outputs.
    """
    return lambda rows: model.reference_logits(rows)[0]


def _candidates_and_residuals(model, pair, settings):
    """Return what transduction searches, normalised."""
    candidates = normalise_images(
        model, pair.references[: settings.num_candidates]
    )
    x, r = (
        normalise_images(model, images)
        for images in pair.residual_pairs.unbind(1)
    )
    return candidates, x - r


def _prediction(predict, inputs, settings):

    @torch.no_grad()
    def call():
        with autocast(settings):
            return predict(inputs)

    return call


@torch.no_grad()
def check_predictions(
    pair: ModelPair, settings: BenchmarkSettings
) -> dict[str, float]:
    """Compare each case's predictions with its naive counterpart's.

    The comparison is in float32. Transduction may choose another candidate
    only if both are equally near.

    Args:
        pair (ModelPair): Models, which are copied, and images.
        settings (BenchmarkSettings): The cases and their counts.

    Returns:
        Dict[str, float]: The relative difference by case, and under ``ties``
        the share of images for which transduction and its naive counterpart
        chose different candidates that are equally near.

    Raises:
        ValueError: The predictions of a case differ.
    """
    model = copy.deepcopy(pair.anchored).to(settings.device).eval()
    images = normalise_images(model, pair.images[: settings.batch_size])
    references = normalise_images(model, pair.references)
    counts = dict(folded=1, single=1, mean=settings.num_references)
    differences = {}
    with full_precision():
        for name in _prediction_names(pair, settings):
            if name not in (*counts, 'transduction'):
                continue
            _, predict, _ = _predictor(name, pair, settings)
            logits = predict(images)
            if name == 'folded':  # MMPretrain's head may have several outputs.
                head = mask_head(copy.deepcopy(predict.head))
                logits = head.logits(predict.extract_feat(images))
            if name == 'transduction':
                wrong, ties = count_wrong_choices(
                    _row_logits(model),
                    logits,
                    images,
                    *_candidates_and_residuals(model, pair, settings),
                    TOLERANCE,
                )
                differences['ties'] = ties / len(images)
            else:
                expected = naive_mean(
                    _row_logits(model), images, references[: counts[name]]
                )
                wrong = int(rows_differ(logits, expected, TOLERANCE).sum())
                differences[name] = (
                    (logits - expected).norm() / expected.norm()
                ).item()
            if wrong:
                raise ValueError(
                    f'Expected {name} to predict like its naive counterpart, '
                    f'but {wrong} of {len(images)} predictions differ by more '
                    f'than {TOLERANCE:g}. This is a bug of mmanchor: report '
                    'it with the config.'
                )
    return differences


@torch.no_grad()
def mean_references(pair: ModelPair, settings: BenchmarkSettings) -> float:
    """Return how many references the adaptive protocol uses on average."""
    _, model, _ = _predictor('adaptive', pair, settings)
    images = normalise_images(model, pair.images[: settings.batch_size])
    with autocast(settings):
        samples = model.predict(images)
    return sum(int(s.num_references) for s in samples) / len(samples)
