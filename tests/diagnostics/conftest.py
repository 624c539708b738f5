"""Configs and models to analyse."""

from helpers.plain_configs import plain_config  # noqa: F401
from helpers.runs import run, small_config  # noqa: F401
from helpers.tiny_suites import trained  # noqa: F401

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
