"""Runs of a second, for metrics in a config."""

from helpers.runs import run, small_config  # noqa: F401

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
