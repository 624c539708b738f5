"""Figures of a suite's results: one module for each subject."""
