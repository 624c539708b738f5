"""All the mathematics: tensors in, tensors out."""

from .adaptive import settled
from .anchoring import (
    ReferredImages,
    anchor,
    anchor_batch,
    anchor_to_all,
    check_same_size,
    fold,
)
from .conformal import conformal_scores, conformal_threshold
from .draws import check_seed, draw_generator, draw_partners
from .folding import (
    is_linear_in_weight,
    reference_map,
    residual_half,
    trace_reference_maps,
)
from .landscape import moved_weights, random_direction
from .masked_target import (
    MaskedTarget,
    build_masked_target,
    normalized_entropy,
    uniform_cross_entropy,
)
from .masking import (
    RowMask,
    blank_references,
    crop_pixels,
    crop_size,
    draw_crops,
    draw_mask,
)
from .place import find_place, places_of
from .stem import (
    find_stem,
    inflate,
    narrow,
    stem_distance,
    widen_layer,
    widen_stem,
)
from .temperature import (
    VectorScaling,
    fit_temperature,
    fit_vector_scaling,
)
from .transduction import best_candidates, pair_norms
from .uncertainty import (
    anchor_score,
    average_references,
    average_space,
    calibrated_logits,
    check_uncertainty,
    energy,
    max_logit,
    measure_uncertainty,
    mutual_information,
    predictive_entropy,
    reference_spread,
)

__all__ = [
    'MaskedTarget',
    'ReferredImages',
    'RowMask',
    'VectorScaling',
    'anchor',
    'anchor_batch',
    'anchor_score',
    'anchor_to_all',
    'average_references',
    'average_space',
    'best_candidates',
    'blank_references',
    'build_masked_target',
    'calibrated_logits',
    'check_same_size',
    'check_seed',
    'check_uncertainty',
    'conformal_scores',
    'conformal_threshold',
    'crop_pixels',
    'crop_size',
    'draw_crops',
    'draw_generator',
    'draw_mask',
    'draw_partners',
    'energy',
    'find_place',
    'find_stem',
    'fit_temperature',
    'fit_vector_scaling',
    'fold',
    'inflate',
    'is_linear_in_weight',
    'max_logit',
    'measure_uncertainty',
    'moved_weights',
    'mutual_information',
    'narrow',
    'normalized_entropy',
    'pair_norms',
    'places_of',
    'predictive_entropy',
    'random_direction',
    'reference_map',
    'reference_spread',
    'residual_half',
    'settled',
    'stem_distance',
    'trace_reference_maps',
    'uniform_cross_entropy',
    'widen_layer',
    'widen_stem',
]
