"""All models on all test sets of a suite, going on where it was stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .alexnet import set_for_mce
from .cache import Parts
from .candidate_run import CandidateRun
from .candidates import Candidate
from .corrupted_sets import make_corrupted
from .failures import Troubles
from .model_scores import check_scores
from .passes import Passes, Report
from .settings import Settings
from .spec import Suite, SuiteSet


@dataclass
class Outcome:
    """What a suite found.

    Attributes:
        models (List[dict]): One for each candidate, and for each that had its
            temperature fitted; see :meth:`CandidateRun.rows`.
        missing (List[dict]): Sets that are not there: ``name``, ``reason``.
        failed (List[dict]): What could not be measured: ``model``, ``name``
            of the set, ``reason``.
        images (Dict[str, dict]): What each model says of each clean image,
            by the model's name; see :meth:`Passes.over`.
    """

    models: list[dict]
    missing: list[dict]
    failed: list[dict]
    images: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def run_suite(
    suite: Suite,
    candidates: Sequence[Candidate],
    parts: Parts,
    settings: Settings,
    report: Report = lambda what, share: None,
    done: Callable[[int], None] = lambda count: None,
) -> Outcome:
    """Measure candidates on a suite.

    What ``parts`` has already is not measured again.

    Args:
        suite (Suite): The test sets.
        candidates (Sequence[Candidate]): The models.
        parts (Parts): Where results are kept as they come.
        settings (Settings): See there.
        report (Callable): Told what is measured, and how much of it is done,
            from 0 to 1.
        done (Callable): Told of the number of test sets that are behind it,
            measured or not.

    Returns:
        Outcome: See there.

    Raises:
        ImportError: A library that a suite needs is not installed.
        OSError: Results can't be kept.
        ValueError: mCE is asked for, of a suite that has none, or a score
            that none of the models can have.
    """
    check_scores(candidates, settings.scores)
    if settings.mce:
        set_for_mce(suite)  # say now what is wrong, not after measuring
    troubles = Troubles()

    def making(kind: str, done: int, total: int) -> None:
        report(f'corrupt: {kind}', done / total)

    def is_there(one: SuiteSet) -> bool:
        made = not one.make or troubles.attempt(
            None,
            one.name,
            lambda: make_corrupted(suite, one, settings.workers, making),
        )
        if not made:
            done(len(candidates) * len(list(one.cells())))
        return made

    suite = replace(suite, shifts=tuple(filter(is_there, suite.shifts)))
    models, images = [], {}
    for candidate in candidates:
        run = CandidateRun(
            Passes(suite, candidate, parts, settings, troubles, report), done
        )
        models += run.rows()
        if run.images:
            images[candidate.name] = run.images
    missing = [
        dict(name=name, reason=reason)
        for name, reason in troubles.missing.items()
    ]
    return Outcome(models, missing, troubles.failed, images)
