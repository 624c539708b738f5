"""Data sets and transforms that MMPretrain lacks, registered with it."""

from .bundled_images import Digits, PhotoPatches
from .first_of_each_class import FirstOfEachClass
from .image_folders import CorruptedFolders
from .label_noise import SymmetricLabelNoise, flip_labels
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
    imagenet_wnids,
)
from .shifts.kinds import (
    ALL_C_KINDS,
    C_EXTRA_KINDS,
    C_KINDS,
    CIFAR_C_BAR_KINDS,
    IMAGENET_C_BAR_KINDS,
    SEVERITIES,
)
from .shifts.out_of_distribution import (
    MarkOutOfDistribution,
    OODFolder,
    OpenOOD,
)
from .transforms.load_image_from_file import LoadImageFromFile
from .transforms.pixmix import PixMix
from .transforms.seeded_gaussian_noise import SeededGaussianNoise

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
