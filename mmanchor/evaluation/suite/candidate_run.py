"""One model on all test sets of a suite."""
from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from ...functional import fit_temperature
from ...version import __version__
from ..anomaly_scores import find_score
from .candidates import Candidate, Ready
from .images import ImageBatches
from .measuring import measure
from .parts import Parts
from .sets import Cell, Suite, SuiteSet
from .stamps import stamp_of
from .summary import (compare_scores, relative_to_alexnet, reliability,
                      smooth_ece_over_sets, summarise_shift)
from .temperature_file import save_temperature

SCORES = ('energy', 'max_logit', 'msp', 'entropy', 'anchor_score', 'spread')
Report = Callable[[str, float], None]
_OF_SET = ('num_images', 'kept_classes')


@dataclass(frozen=True)
class Settings:
    """How a suite is run.

    Args:
        batch_size (int): Images a batch. Defaults to 256.
        workers (int): Threads and processes that read and make images.
            Defaults to 2.
        device (str): Defaults to ``'cpu'``.
        amp (bool): Mixed precision. Defaults to False.
        scores (Sequence[str]): Anomaly scores, the first of which is shown
            first. See :class:`~mmanchor.evaluation.AnomalyRejection`.
        temperature (bool): Whether to fit temperatures on held-out images,
            and report with them too. Defaults to False.
        mce (bool): Whether to report mCE relative to AlexNet, whose errors
            were published for ImageNet-C. Defaults to False.

    Raises:
        ImportError: A score is one of pytorch-ood's, which is not installed.
        ValueError: There is no such score, or a number is below 1.
    """
    batch_size: int = 256
    workers: int = 2
    device: str = 'cpu'
    amp: bool = False
    scores: Sequence[str] = SCORES
    temperature: bool = False
    mce: bool = False

    def __post_init__(self):
        for name in ('batch_size', 'workers'):
            if getattr(self, name) < 1:
                raise ValueError(
                    f'Expected --{name.replace("_", "-")} to be at least 1, '
                    f'but got {getattr(self, name)}. Change it.')
        for name in self.scores:
            find_score(name)


class CandidateRun:
    """Measures one model, or takes what was measured before.

    Args:
        suite (Suite): The test sets.
        candidate (Candidate): The model.
        parts (Parts): Where results are kept.
        settings (Settings): See there.
        troubles (Troubles): Told what can't be measured.
        report (Callable): Told what is measured, and how much of it is done.
        done (Callable): Told of the number of test sets that are behind it,
            measured or not.
    """

    def __init__(self, suite: Suite, candidate: Candidate, parts: Parts,
                 settings: Settings, troubles, report: Report,
                 done: Callable[[int], None]):
        self.suite, self.candidate = suite, candidate
        self.parts, self.settings = parts, settings
        self.troubles, self.report, self.done = troubles, report, done
        self.temperatures: Tuple[float, ...] = (1., )

    @cached_property
    def ready(self) -> Optional[Ready]:
        """The model, loaded where something is left to measure.

        None where it can't be, which is noted once.
        """
        try:
            return self.candidate.load(self.settings.device)
        except (TypeError, ValueError, FileNotFoundError) as error:
            self.troubles.note(self.candidate.name, 'the model', error)
            return None

    def rows(self) -> List[dict]:
        """What the results say of the model; once more with a temperature.

        Returns:
            list[dict]: ``name``, what :meth:`Candidate.describe` gives,
            ``clean``, ``shifts``, ``ood``, and so on.
        """
        fitted = self._fit_temperature()
        if fitted and fitted['temperature']:
            self.temperatures = (1., fitted['temperature'])
            save_temperature(self.candidate, fitted)
        clean = self._cell(self._clean, scored=True)
        self.done(1)
        shifts = {one.name: self._shift(one) for one in self.suite.shifts}
        ood = {one.name: self._ood(one, clean) for one in self.suite.ood}
        rows = [
            self._row(i, clean, shifts, ood)
            for i in range(len(self.temperatures))
        ]
        if fitted:
            after = rows[-1]['clean'] if len(rows) > 1 else None
            rows[0]['temperature'] = dict(
                fitted,
                before=rows[0]['clean'] and rows[0]['clean']['figures'],
                after=after and after['figures'])
        return rows

    def _row(self, i: int, clean, shifts, ood) -> dict:
        """What is said with one of the temperatures."""
        name = self.candidate.name
        if i:
            name += f', T = {self.temperatures[i]:.2f}'
        shifts = {
            key: summarise_shift({
                of: cell[i]
                for of, cell in cells.items()
            })
            for key, cells in shifts.items() if cells is not None
        }
        return dict(
            name=name,
            **self.candidate.describe(),
            logits_divided_by=self.temperatures[i],
            temperature=None,
            clean=clean and dict(
                name=self.suite.clean.name,
                num_images=clean[i]['num_images'],
                figures=clean[i]['figures']),
            reliability=clean and reliability([clean[i]['reliability']]),
            shifts=shifts,
            smooth_ece=smooth_ece_over_sets(shifts),
            mce=self._mce(shifts),
            ood={
                key: one[i]
                for key, one in ood.items() if one is not None
            })

    def _mce(self, shifts: Dict[str, dict]) -> Optional[float]:
        for one in self.suite.shifts:
            if (self.settings.mce and one.name in shifts
                    and one.dataset['type'].endswith('ImageNetC')):
                return relative_to_alexnet(shifts[one.name])
        return None

    @property
    def _clean(self) -> Cell:
        return next(self.suite.clean.cells())

    def _shift(self, one: SuiteSet) -> Optional[Dict[tuple, List[dict]]]:
        """By kind and severity; None where any of them can't be measured."""
        found, cells = {}, list(one.cells())
        for i, cell in enumerate(cells):
            measured = self._cell(cell)
            if measured is None:
                self.done(len(cells) - i)
                return None
            found[cell.kind, cell.severity] = measured
            self.done(1)
        return found

    def _ood(self, one: SuiteSet,
             clean: Optional[List[dict]]) -> Optional[List[dict]]:
        """Scores of a set's images against those of the clean ones."""
        outside, inside = None, clean
        if clean is not None:
            outside = self._cell(one.as_ood(), scored=True, figures=False)
            kept = outside and outside[0]['kept_classes']
            if kept:
                inside = self._cell(
                    self._clean, scored=True, figures=False, kept=kept)
        self.done(1)
        if outside is None or inside is None:
            return None
        return [
            dict(
                num_images=out['num_images'],
                scores=self._compare(side['scores'], out['scores']))
            for side, out in zip(inside, outside)
        ]

    def _compare(self, inside, outside) -> Dict[str, dict]:
        """By score; without those that a model has none of, or one for all."""
        return {
            name: compare_scores(inside[name], outside[name])
            for name in self.settings.scores if name in outside
            and np.ptp(np.concatenate([inside[name], outside[name]])) > 0
        }

    def _fit_temperature(self) -> Optional[dict]:
        """On the clean images that are held out; None where none is asked."""
        if not self.settings.temperature:
            return None
        settings = self._settings(self._clean, held_out=True)
        name = f'{self.candidate.name} temperature'
        found = self.parts.get(name, settings)
        if found is None and self.ready is not None:
            found = self.troubles.attempt(self.candidate.name,
                                          self._clean.name,
                                          lambda: self._fit(name, settings),
                                          'temperature on ')
        return found and found[0]

    def _fit(self, name: str, settings: dict) -> tuple:
        batches = self._batches(self._clean, held_out=True)
        found, = measure(
            self.ready,
            batches,
            self.settings.device,
            figures=False,
            amp=self.settings.amp,
            keep_answers=True,
            report=self._reporter(batches, self._clean))
        temperature = fit_temperature(found.answers, batches.labels)
        result = dict(
            temperature=temperature,
            num_images=len(batches),
            share=self.suite.held_out.share,
            seed=self.suite.held_out.seed)
        self.parts.keep(name, settings, result)
        return result, {}

    def _cell(self,
              cell: Cell,
              scored: bool = False,
              figures: bool = True,
              kept: Optional[Sequence[int]] = None) -> Optional[List[dict]]:
        """What is found in one pass, for each temperature."""
        settings = self._settings(
            cell,
            temperatures=self.temperatures,
            scores=self.settings.scores if scored else (),
            figures=figures,
            kept=kept)
        name = f'{self.candidate.name} {cell}'
        found = self.parts.get(name, settings)
        if found is None and self.ready is not None:
            found = self.troubles.attempt(
                self.candidate.name, cell.name,
                lambda: self._measure(name, settings, cell, figures, kept))
        if found is None:
            return None
        result, arrays = found
        for i, one in enumerate(result['temperatures']):
            one.update({key: result[key] for key in _OF_SET})
            one['scores'] = {
                key.partition(' ')[2]: values
                for key, values in arrays.items() if key.startswith(f'{i} ')
            }
        return result['temperatures']

    def _measure(self, name, settings, cell, figures, kept) -> tuple:
        batches = self._batches(cell, kept)
        found = measure(
            self.ready,
            batches,
            self.settings.device,
            self.temperatures,
            figures,
            settings['scores'],
            kept,
            self.settings.amp,
            report=self._reporter(batches, cell))
        result = dict(
            num_images=len(batches),
            kept_classes=batches.kept_classes,
            temperatures=[
                dict(figures=one.figures, reliability=one.reliability)
                for one in found
            ])
        arrays = {
            f'{i} {key}': values
            for i, one in enumerate(found)
            for key, values in one.scores.items()
        }
        self.parts.keep(name, settings, result, arrays)
        return result, arrays

    def _batches(self, cell: Cell, kept=None, held_out=False) -> ImageBatches:
        batches = ImageBatches(cell, self.ready.pipeline,
                               self.settings.batch_size, self.settings.workers)
        if cell == self._clean:
            rows = np.arange(len(batches))
            if self.settings.temperature:
                rows = self.suite.held_out.rows(len(batches), held_out)
            if kept is not None:
                rows = rows[np.isin(batches.labels[rows], kept)]
            batches.select(rows)
        return batches

    def _reporter(self, batches, cell: Cell) -> Callable[[int], None]:
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            self.report(f'{self.candidate.name}: {cell}', done / len(batches))

        return report

    def _settings(self, cell: Cell, **others) -> dict:
        """All that decides what a pass finds."""
        held_out = None
        if self.settings.temperature and cell == self._clean:
            held_out = (self.suite.held_out.share, self.suite.held_out.seed)
        return dict(
            candidate=self.candidate.settings,
            cell=repr(cell),
            stamp=stamp_of(cell),
            left_out=held_out,
            batch_size=self.settings.batch_size,
            amp=self.settings.amp,
            versions=(__version__, torch.__version__),
            **others)
