"""Small models and batches."""

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import mmanchor  # noqa: F401

NUM_CLASSES = 10


def model_config(preprocessor=None, head=None, **kwargs) -> dict:
    """Config of a narrow ResNet-18 for 32 px, anchored unless told."""
    return dict(
        type=kwargs.pop('type', 'AnchoredImageClassifier'),
        backbone=dict(
            type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=NUM_CLASSES,
            in_channels=64,
            **(head or {}),
        ),
        data_preprocessor=dict(
            mean=[127.5] * 3,
            std=[64.0] * 3,
            num_classes=NUM_CLASSES,
            **(preprocessor or {}),
        ),
        **kwargs,
    )


def build_model(**kwargs):
    """The model of :func:`model_config`."""
    return MODELS.build(model_config(**kwargs))


def image_bytes(count: int, size: int = 16, channels: int = 3, seed: int = 0):
    """(count, channels, size, size), uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        256,
        (count, channels, size, size),
        generator=generator,
        dtype=torch.uint8,
    )


def make_batch(count: int, size: int = 16, seed: int = 0, inputs=None):
    """A collated batch with labels 0, 1, 2, …"""
    inputs = image_bytes(count, size, seed=seed) if inputs is None else inputs
    samples = [
        DataSample().set_gt_label(i % NUM_CLASSES) for i in range(count)
    ]
    return dict(inputs=inputs, data_samples=samples)
