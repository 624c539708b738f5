"""Metrics, registered with MMPretrain."""
from .calibration import CalibrationError, calibration_error

__all__ = ['CalibrationError', 'calibration_error']
