"""What a suite finds of one model."""

from collections.abc import Callable

import numpy as np

from .alexnet import set_for_mce
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
from .temperature_file import save_temperature


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
        """What the results say of the model; once more with a temperature.

        Returns:
            list[dict]: ``name``, what :meth:`Candidate.describe` gives,
            ``clean``, ``shifts``, ``ood``, and so on.
        """
        fitted = self.passes.fit_temperature()
        if fitted:
            self.passes.temperatures = (1.0, fitted['temperature'])
            save_temperature(self.candidate, fitted)
        clean = self.passes.over(self.passes.clean, scored=True)
        self.images = clean[0]['images'] if clean else {}
        self.done(1)
        shifts = {one.name: self._shift(one) for one in self.suite.shifts}
        ood = {one.name: self._ood(one, clean) for one in self.suite.ood}
        rows = [
            self._row(i, clean, shifts, ood)
            for i in range(len(self.passes.temperatures))
        ]
        if fitted:
            after = rows[-1]['clean'] if len(rows) > 1 else None
            rows[0]['temperature'] = dict(
                fitted,
                before=rows[0]['clean'] and rows[0]['clean']['figures'],
                after=after and after['figures'],
            )
        return rows

    def _row(self, i: int, clean, shifts, ood) -> dict:
        """What is said with one of the temperatures."""
        name = self.candidate.name
        if i:
            name += f', T = {self.passes.temperatures[i]:.2f}'
        shifts = {
            key: summarise_shift({of: cell[i] for of, cell in cells.items()})
            for key, cells in shifts.items()
            if cells is not None
        }
        ood = {key: one[i] for key, one in ood.items() if one is not None}
        return dict(
            name=name,
            **self.candidate.describe(),
            logits_divided_by=self.passes.temperatures[i],
            temperature=None,
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
