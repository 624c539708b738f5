"""Anchored models, in the order data flows; registered with MMPretrain.

The registered ``ReferenceMasking*Head`` classes are in :mod:`.heads`.
"""
from .classifier import AnchoredImageClassifier
from .data_preprocessor import AnchoringDataPreprocessor
from .heads import reference_masking
from .losses import ReferenceMaskingLoss
from .reference_bank import ReferenceBank

__all__ = [
    'AnchoredImageClassifier', 'AnchoringDataPreprocessor', 'ReferenceBank',
    'ReferenceMaskingLoss', 'reference_masking'
]
