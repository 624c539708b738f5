"""Metrics, registered with MMPretrain."""
from .accuracy import Top1Accuracy
from .anomaly_rejection import AnomalyRejection, anomaly_rejection
from .anomaly_scores import find_score
from .calibration import (CalibrationError, SmoothedCalibrationError,
                          calibration_error, smoothed_calibration_error)
from .corruption_error import ALEXNET_ERRORS, mean_corruption_error
from .predicted_batch import PredictedBatch
from .proper_scores import (BrierScore, NegativeLogLikelihood, brier_score,
                            negative_log_likelihood)
from .references import ReferenceSpread, ReferencesUsed
from .risk_coverage import AreaUnderRiskCoverage, risk_coverage

__all__ = [
    'ALEXNET_ERRORS', 'AnomalyRejection', 'AreaUnderRiskCoverage',
    'BrierScore', 'CalibrationError', 'NegativeLogLikelihood',
    'PredictedBatch', 'ReferenceSpread', 'ReferencesUsed',
    'SmoothedCalibrationError', 'Top1Accuracy', 'anomaly_rejection',
    'brier_score', 'calibration_error', 'find_score', 'mean_corruption_error',
    'negative_log_likelihood', 'risk_coverage', 'smoothed_calibration_error'
]
