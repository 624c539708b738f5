"""Datasets and transforms MMPretrain lacks, registered with it."""
from .digits import Digits
from .noise import SeededGaussianNoise
from .ood import MarkOutOfDistribution
from .reference_images import (draw_images, draw_pairs, mean_image,
                               select_indices, stack_images, with_pipeline)
from .reference_set import ReferenceSet

__all__ = [
    'Digits', 'MarkOutOfDistribution', 'ReferenceSet', 'SeededGaussianNoise',
    'draw_images', 'draw_pairs', 'mean_image', 'select_indices',
    'stack_images', 'with_pipeline'
]
