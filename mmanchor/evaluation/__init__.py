"""Metrics, registered with MMPretrain."""
from .calibration import CalibrationError, calibration_error
from .references_used import ReferencesUsed

__all__ = ['CalibrationError', 'ReferencesUsed', 'calibration_error']
