"""What a suite finds of one model."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..evaluation.saved_fits import read_fits, save_fit
from .alexnet import set_for_mce
from .candidates import Candidate
from .ensembles import EnsembleCandidate
from .fingerprints import is_there
from .passes import Passes
from .spec import SuiteSet
from .summary import (
    compare_scores,
    mean_by_group,
    relative_to_alexnet,
    reliability,
    smooth_ece_over_sets,
    summarise_shift,
)

# what is fitted: what the results and the file beside the checkpoint say
KEYS = dict(temperature=('temperature',), vector_scaling=('weight', 'bias'))


class CandidateRun:
    """One model on all test sets.

    Args:
        passes (Passes): Measure it.
        done (Callable): Told of the number of test sets that are behind it,
            measured or not.

    Attributes:
        images (Dict[str, np.ndarray]): What is said of each clean image, once
            it is measured; see :meth:`Passes.over`.
    """

    def __init__(self, passes: Passes, done: Callable[[int], None]):
        self.passes, self.done = passes, done
        self.suite, self.settings = passes.suite, passes.settings
        self.candidate = passes.candidate
        self.images: dict[str, np.ndarray] = {}

    def rows(self) -> list[dict]:
        """What the results say of the model, and of it with scaled logits.

        Returns:
            list[dict]: ``name``, what :meth:`Candidate.describe` gives,
            ``clean``, ``shifts``, ``ood``, and so on.
        """
        self.passes.fit()
        clean = self.passes.over(self.passes.clean, scored=True)
        self.images = clean[0]['images'] if clean else {}
        self.done(1)
        shifts = {one.name: self._shift(one) for one in self.suite.shifts}
        ood = {one.name: self._ood(one, clean) for one in self.suite.ood}
        rows = [
            self._row(i, clean, shifts, ood)
            for i in range(len(self.passes.fits))
        ]
        for fit, row in zip(self.passes.fits[1:], rows[1:]):
            kind = next(kind for kind in KEYS if KEYS[kind][0] in fit.facts)
            found = dict(
                {key: fit.facts[key] for key in KEYS[kind]},
                num_images=self.passes.num_held_out,
                share=self.suite.held_out.share,
                seed=self.suite.held_out.seed,
            )
            _save_beside(self.candidate, kind, found)
            rows[0][kind] = dict(
                found,
                before=rows[0]['clean'] and rows[0]['clean']['figures'],
                after=row['clean'] and row['clean']['figures'],
            )
        return rows

    def _row(self, i: int, clean, shifts, ood) -> dict:
        """What is said with logits that are scaled in one of the ways."""
        fit = self.passes.fits[i]
        name = self.candidate.name + fit.suffix
        shifts = {
            key: summarise_shift({of: cell[i] for of, cell in cells.items()})
            for key, cells in shifts.items()
            if cells is not None
        }
        ood = {key: one[i] for key, one in ood.items() if one is not None}
        return dict(
            name=name,
            **self.candidate.describe(),
            logits_divided_by=fit.scaling
            if isinstance(fit.scaling, float)
            else None,
            temperature=None,
            vector_scaling=None,
            prediction_sets=fit.facts.get('prediction_sets'),
            abstention=fit.facts.get('abstention'),
            clean=clean
            and dict(
                name=self.suite.clean.name,
                num_images=clean[i]['num_images'],
                figures=clean[i]['figures'],
            ),
            reliability=clean and reliability([clean[i]['reliability']]),
            shifts=shifts,
            smooth_ece=smooth_ece_over_sets(shifts),
            mce=self._mce(shifts),
            ood=ood,
            ood_means=mean_by_group(
                ood,
                [
                    one
                    for one in self.suite.ood
                    if one.name not in self.passes.troubles.missing
                ],
            ),
        )

    def _mce(self, shifts: dict[str, dict]) -> float | None:
        name = self.settings.mce and set_for_mce(self.suite).name
        return relative_to_alexnet(shifts[name]) if name in shifts else None

    def _shift(self, one: SuiteSet) -> dict[tuple, list[dict]] | None:
        """By kind and severity; None where any of them can't be measured."""
        found, cells = {}, list(one.cells())
        # what is not there comes first: nothing is measured for nothing
        cells.sort(key=lambda cell: cell.kind is None or is_there(cell))
        for i, cell in enumerate(cells):
            measured = self.passes.over(cell)
            if measured is None:
                self.done(len(cells) - i)
                return None
            found[cell.kind, cell.severity] = measured
            self.done(1)
        return {
            (cell.kind, cell.severity): found[cell.kind, cell.severity]
            for cell in one.cells()
        }

    def _ood(
        self, one: SuiteSet, clean: list[dict] | None
    ) -> list[dict] | None:
        """Scores of a set's images against those of the clean ones."""
        outside, inside = None, clean
        if clean is not None:
            outside = self.passes.over(
                one.as_ood(), scored=True, figures=False
            )
            kept = outside and outside[0]['kept_classes']
            if kept:
                inside = self.passes.over(
                    self.passes.clean, scored=True, figures=False, kept=kept
                )
        self.done(1)
        if outside is None or inside is None:
            return None
        return [
            dict(
                num_images=out['num_images'],
                scores=self._compare(side['scores'], out['scores']),
            )
            for side, out in zip(inside, outside)
        ]

    def _compare(self, inside, outside) -> dict[str, dict]:
        """By score; without those that a model has none of, or one for all."""
        return {
            name: compare_scores(inside[name], outside[name])
            for name in self.settings.scores
            if name in outside
            and np.ptp(np.concatenate([inside[name], outside[name]])) > 0
        }


def _save_beside(candidate: Candidate, kind: str, found: dict) -> None:
    """Write what was fitted beside the checkpoint, where that is possible.

    An ensemble has no checkpoint of its own, and a folder may be read-only:
    what was fitted is in the results as well.
    """
    if isinstance(candidate, EnsembleCandidate):
        return
    where = (candidate.checkpoint, candidate.sha256, kind)
    how = candidate.how or 'plain'
    if read_fits(*where).get(how) != found:
        with suppress(OSError, ValueError):
            save_fit(*where, how, found)
