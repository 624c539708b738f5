"""Small trained models and a tiny suite for all tests of this folder."""

from helpers.runs import run, small_config  # noqa: F401
from helpers.tiny_suites import *  # noqa: F403

collect_ignore = ['conftest.py']  # doctests of several conftest files clash
