"""Hooks and launching."""
from .k_reference_hook import KReferenceHook

__all__ = ['KReferenceHook']
