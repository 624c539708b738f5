"""Metrics for evaluators, and the functions that compute them.

All metrics are registered with MMPretrain.
"""

from .abstention import Threshold, find_threshold
from .feature_scores import fit_feature_score
from .metrics.accuracy import Top1Accuracy
from .metrics.anomaly_rejection import (
    AnomalyRejection,
    anomaly_rejection,
    find_score,
)
from .metrics.calibration import (
    CalibrationError,
    SmoothedCalibrationError,
    calibration_error,
    smoothed_calibration_error,
)
from .metrics.corruption_error import ALEXNET_ERRORS, mean_corruption_error
from .metrics.per_image import PerImageMetric
from .metrics.predicted_batch import PredictedBatch
from .metrics.prediction_sets import PredictionSetMetric
from .metrics.proper_scores import (
    BrierScore,
    NegativeLogLikelihood,
    brier_score,
    negative_log_likelihood,
)
from .metrics.references import ReferenceSpread, ReferencesUsed
from .metrics.risk_coverage import (
    AreaUnderRiskCoverage,
    SelectiveError,
    risk_coverage,
)
from .prediction_sets import PredictionSets, fit_prediction_sets

__all__ = [
    'ALEXNET_ERRORS',
    'AnomalyRejection',
    'AreaUnderRiskCoverage',
    'BrierScore',
    'CalibrationError',
    'NegativeLogLikelihood',
    'PerImageMetric',
    'PredictedBatch',
    'PredictionSetMetric',
    'PredictionSets',
    'ReferenceSpread',
    'ReferencesUsed',
    'SelectiveError',
    'SmoothedCalibrationError',
    'Threshold',
    'Top1Accuracy',
    'anomaly_rejection',
    'brier_score',
    'calibration_error',
    'find_score',
    'find_threshold',
    'fit_feature_score',
    'fit_prediction_sets',
    'mean_corruption_error',
    'negative_log_likelihood',
    'risk_coverage',
    'smoothed_calibration_error',
]
