"""Datasets and transforms MMPretrain lacks, registered with it."""

from .corruptions.gaussian_noise import SeededGaussianNoise
from .digits import Digits
from .first_of_each_class import FirstOfEachClass
from .image_folders import CorruptedFolders, OODFolder, OpenOOD
from .label_noise import SymmetricLabelNoise, flip_labels
from .photo_patches import PhotoPatches
from .reference_sampling import (
    PlainDataset,
    draw_images,
    draw_pairs,
    mean_image,
    select_indices,
    stack_images,
    with_pipeline,
)
from .reference_set import ReferenceSet
from .shifts.cifar import (
    CIFAR10_1,
    CIFAR10C,
    CIFAR100C,
    CIFAR10CBar,
    CIFAR100CBar,
    CorruptedArrays,
)
from .shifts.imagenet import (
    ImageNetA,
    ImageNetC,
    ImageNetCBar,
    ImageNetO,
    ImageNetR,
    ImageNetSketch,
    ImageNetV2,
)
from .shifts.imagenet_wnids import imagenet_wnids
from .shifts.kinds import (
    ALL_C_KINDS,
    C_EXTRA_KINDS,
    C_KINDS,
    CIFAR_C_BAR_KINDS,
    IMAGENET_C_BAR_KINDS,
    SEVERITIES,
)
from .shifts.ood import MarkOutOfDistribution
from .transforms.loading import LoadImageFromFile
from .transforms.pixmix import PixMix

__all__ = [
    'ALL_C_KINDS',
    'CIFAR100C',
    'CIFAR100CBar',
    'CIFAR10C',
    'CIFAR10CBar',
    'CIFAR10_1',
    'CIFAR_C_BAR_KINDS',
    'C_EXTRA_KINDS',
    'C_KINDS',
    'CorruptedArrays',
    'CorruptedFolders',
    'Digits',
    'FirstOfEachClass',
    'IMAGENET_C_BAR_KINDS',
    'ImageNetA',
    'ImageNetC',
    'ImageNetCBar',
    'ImageNetO',
    'ImageNetR',
    'ImageNetSketch',
    'ImageNetV2',
    'LoadImageFromFile',
    'MarkOutOfDistribution',
    'OODFolder',
    'OpenOOD',
    'PhotoPatches',
    'PixMix',
    'PlainDataset',
    'ReferenceSet',
    'SEVERITIES',
    'SeededGaussianNoise',
    'SymmetricLabelNoise',
    'draw_images',
    'draw_pairs',
    'flip_labels',
    'imagenet_wnids',
    'mean_image',
    'select_indices',
    'stack_images',
    'with_pipeline',
]
