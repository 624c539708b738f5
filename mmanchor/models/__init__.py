"""Anchored models, in the order data flows; registered with MMPretrain.

The registered ``ReferenceMasking*Head`` classes are in :mod:`.heads`.
"""

from .backbones.regnet_y import RegNetY
from .backbones.wide_resnet import WideResNet_CIFAR
from .classifier import AnchoredImageClassifier
from .data_preprocessor import (
    AnchoringDataPreprocessor,
    SubtractiveMixDataPreprocessor,
)
from .folded_classifier import FoldedImageClassifier
from .folding import FoldedReferences, fold_reference
from .heads import reference_masking
from .inference.protocols import Answers, Protocol, build_protocol
from .inference.reverse_anchoring import bank_labels, reverse_anchoring
from .losses import ReferenceMaskingLoss
from .reference_augments import ReferenceAugments
from .reference_bank import ReferenceBank
from .subtractive_mix import SubtractiveMixImageClassifier

__all__ = [
    'AnchoredImageClassifier',
    'AnchoringDataPreprocessor',
    'Answers',
    'FoldedImageClassifier',
    'FoldedReferences',
    'Protocol',
    'ReferenceAugments',
    'ReferenceBank',
    'ReferenceMaskingLoss',
    'RegNetY',
    'SubtractiveMixDataPreprocessor',
    'SubtractiveMixImageClassifier',
    'WideResNet_CIFAR',
    'bank_labels',
    'build_protocol',
    'fold_reference',
    'reference_masking',
    'reverse_anchoring',
]
