"""Jobs of Slurm, and studies of seconds."""

from helpers.slurm_jobs import slurm  # noqa: F401
from helpers.tiny_studies import *  # noqa: F403
from helpers.tiny_suites import *  # noqa: F403

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
