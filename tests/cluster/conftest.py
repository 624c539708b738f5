"""Jobs of Slurm, and studies of seconds."""
from slurm_jobs import slurm  # noqa: F401
from tiny_studies import *  # noqa: F401, F403
from tiny_suites import *  # noqa: F401, F403

collect_ignore = ['conftest.py']  # for doctests: it clashes with others
