"""Models and images of a benchmark."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.runner import load_checkpoint
from mmengine.utils import to_2tuple
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..checkpoints.safe_loading import checkpoint_loading
from ..diagnostics.backbone_check import (
    build_model,
    perturb_parameters,
)
from ..diagnostics.config_pair import image_size, plain_and_anchored
from .settings import BenchmarkSettings


@dataclass
class Setup:
    """Models with the same weights, and images, on the CPU.

    Attributes:
        plain (torch.nn.Module): The standard model.
        anchored (torch.nn.Module): The anchored one.
        cfg (Config): The anchored config.
        plain_cfg (Config): The plain one.
        images (torch.Tensor): Images to train on and to test; uint8 as a
            rule, (B or more, C, H, W).
        references (torch.Tensor): References and candidates.
        residual_pairs (torch.Tensor): (N, 2, C, H, W).
    """

    plain: nn.Module
    anchored: nn.Module
    cfg: Config
    plain_cfg: Config
    images: torch.Tensor
    references: torch.Tensor
    residual_pairs: torch.Tensor


def set_up(
    config: str,
    settings: BenchmarkSettings,
    checkpoint: str | None = None,
    options: dict | None = None,
    allow_code: bool = False,
) -> Setup:
    """Build what a config's cases are made of.

    Args:
        config (str): See :func:`~.config_pair.plain_and_anchored`.
        settings (BenchmarkSettings): What is timed.
        checkpoint (str, optional): Weights of the anchored model, or of a
            plain one. Defaults to None: as initialised, and the reference's
            half of the stem moved a little, so that references matter.
        options (dict, optional): Changes to the config. Defaults to None.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Raises:
        ValueError: The config has no classifier, no plain counterpart or no
            head, or its test images are of another size.
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
        copy_fitting(model, plain)
    elif model.stem:
        model.load_state_dict(plain.state_dict(), strict=False)
        _move_reference_half(model)
    else:
        perturb_parameters(model)
    counts = (
        4 * settings.batch_size,
        max(settings.num_references, settings.num_candidates),
        2 * settings.num_residuals,
    )
    size = to_2tuple(settings.size or image_size(cfg))
    images, references, pairs = _images(
        cfg, settings, (model.image_channels, *size), sum(counts)
    ).split(counts)
    if checkpoint is not None:  # its own references come first
        own = model.reference_bank.images
        if own.shape[1:] == references.shape[1:]:
            references = torch.cat([own.to(references), references])
            references = references[: counts[1]]
    return Setup(
        plain,
        model,
        cfg,
        plain_cfg,
        images,
        references,
        pairs.unflatten(0, (-1, 2)),
    )


def copy_fitting(source: nn.Module, target: nn.Module) -> None:
    """Copy what has the same name and shape."""
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
def _move_reference_half(model) -> None:
    for name in model.widened_layers:
        half, _ = model.get_submodule(name).weight.chunk(2, 1)
        half += 0.3 * half.std() * torch.randn_like(half)


def _images(cfg, settings, shape, count) -> torch.Tensor:
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


class _InMemory(Dataset):
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
    """Batches of a shuffling loader, for as long as they are asked for.

    Shape:
        - images: (at least ``batch_size``, C, H, W)
    """
    loader = DataLoader(
        _InMemory(images, num_classes),
        batch_size,
        shuffle=True,
        drop_last=True,
        pin_memory=pin_memory,
        collate_fn=default_collate,
        generator=torch.Generator().manual_seed(seed),
    )
    while True:
        yield from loader


def normalised(model, images: torch.Tensor) -> torch.Tensor:
    """Images as a model is to see them, on its device.

    Shape:
        - images, output: (B, C, H, W)
    """
    with torch.no_grad():
        return model.data_preprocessor(dict(inputs=images))['inputs']
