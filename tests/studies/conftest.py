"""Studies of seconds."""
from runs import run, small_config  # noqa: F401
from tiny_studies import *  # noqa: F401, F403
from tiny_suites import *  # noqa: F401, F403

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
