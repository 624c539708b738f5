"""All the mathematics: tensors in, tensors out."""
from .anchoring import anchor, anchor_to_all, draw_partners, fold
from .draws import check_seed, draw_generator
from .masking import (blank_references, draw_mask, normalized_entropy,
                      uniform_cross_entropy)
from .stem import find_stem, inflate, widen_stem
from .uncertainty import average_references, reference_spread

__all__ = [
    'anchor', 'anchor_to_all', 'average_references', 'blank_references',
    'check_seed', 'draw_generator', 'draw_mask', 'draw_partners', 'find_stem',
    'fold', 'inflate', 'normalized_entropy', 'reference_spread',
    'uniform_cross_entropy', 'widen_stem'
]
