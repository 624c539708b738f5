"""Runs of a second, for the suite."""

from helpers.runs import run, small_config  # noqa: F401
from helpers.tiny_suites import *  # noqa: F403

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
