"""Runs of a second and a trained checkpoint, for tests of files on disk."""

from helpers.one_checkpoint import checkpoint, trained_once  # noqa: F401
from helpers.runs import run, small_config  # noqa: F401

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
