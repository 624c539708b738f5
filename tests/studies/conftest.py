"""Studies of seconds."""

from helpers.study_results import made_up  # noqa: F401
from helpers.tiny_studies import *  # noqa: F403
from helpers.tiny_suites import *  # noqa: F403

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
