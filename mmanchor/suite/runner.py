"""Runs models on all test sets of a suite, and resumes where it stopped."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch

from ..checkpoints.model_loading import check_classes
from ..datasets import CorruptedArrays
from ..evaluation.feature_scores import FEATURE_SCORES
from ..evaluation.metrics.corruption_error import mean_corruption_error
from ..evaluation.saved_fits import read_fits, save_fit
from ..utils.provenance import commit, versions
from .cache import CannotSave, ResultStore
from .candidates import Candidate, LoadedModel
from .comparisons import ImageAnswers
from .corrupted_sets import clean_mask, make_corrupted
from .ensembles import EnsembleCandidate
from .held_out import HeldOutFit, fit_held_out, fits_as_json
from .images import ImageBatches, clean_set_is_there, fingerprint, is_on_disk
from .measure import measure
from .model_scores import REVERSE_SCORES, FeatureScores
from .results import (
    compare_scores,
    mean_by_group,
    reliability,
    smooth_ece_over_sets,
    summarise_shift,
)
from .spec import Cell, Settings, Suite, SuiteSet, set_for_mce
from .training_features import fit_feature_scores, training_features

ReportProgress = Callable[[str, float], None]
REFERENCES_SHOWN = 5  # the report shows so many beside an image


@dataclass
class Outcome:
    """What was measured, and what could not be measured.

    Attributes:
        models (List[dict]): One for each candidate, and one more for each
            scaling of logits that was fitted; see :meth:`ModelRun.rows`.
        missing (List[dict]): The sets that are not on disk: ``name``,
            ``reason``.
        failed (List[dict]): What could not be measured: ``model``, ``name``
            of the set, ``reason``.
        images (Dict[str, dict]): The predictions for each clean image, by the
            name of the model; see :meth:`ModelEvaluator.evaluate`. Those of
            models with references have the first ``references``, unless the
            settings forbid images.
        answers (Dict[str, ImageAnswers]): What models answered to each image,
            by the name of the row in ``models``.
    """

    models: list[dict]
    missing: list[dict]
    failed: list[dict]
    images: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    answers: dict[str, ImageAnswers] = field(default_factory=dict)
    classes: list[str] | None = None


def run_suite(
    suite: Suite,
    candidates: Sequence[Candidate],
    store: ResultStore,
    settings: Settings,
    report: ReportProgress = lambda what, share: None,
    done: Callable[[int], None] = lambda count: None,
) -> Outcome:
    """Measure candidates on a suite.

    Args:
        store (ResultStore): Where results are saved as they come. Results
            that it holds already are not measured again.
        report (Callable): Called with what is being measured, and the share
            of it that is done, from 0 to 1.
        done (Callable): Called with a number of test sets that are finished,
            measured or not.

    Raises:
        ImportError: A library that a suite needs is not installed.
        OSError: Results can't be saved.
        ValueError: mCE is asked for, but the suite has none, or there is a
            score that none of the models can have.
    """
    check_scores(candidates, settings.scores)
    if settings.mce:
        set_for_mce(suite)  # raises before anything is measured
    failures = Failures()

    def report_corruption(kind: str, done: int, total: int) -> None:
        report(f'corrupt: {kind}', done / total)

    clean_is_gone = not clean_set_is_there(suite)

    def make_if_needed(one: SuiteSet) -> bool:
        if clean_is_gone:
            return True  # it can't be made, but may be there or measured
        made = not one.make or failures.attempt(
            None,
            one.name,
            make_corrupted,
            suite,
            one,
            settings.workers,
            report_corruption,
        )
        if not made:
            done(len(candidates) * len(list(one.cells())))
        return made

    suite = replace(suite, shifts=tuple(filter(make_if_needed, suite.shifts)))
    models, images, answers, classes = [], {}, {}, None
    for candidate in candidates:
        evaluator = ModelEvaluator(
            suite, candidate, store, settings, failures, report
        )
        run = ModelRun(evaluator, done)
        rows = run.rows()
        models += rows
        answers.update(zip([row['name'] for row in rows], run.answers))
        classes = classes or run.classes
        if run.images:
            images[candidate.name] = run.images
    missing = [
        dict(name=name, reason=reason)
        for name, reason in failures.missing.items()
    ]
    return Outcome(models, missing, failures.failed, images, answers, classes)


def clean_results_are_stored(
    suite: Suite,
    candidates: Sequence[Candidate],
    store: ResultStore,
    settings: Settings,
) -> bool:
    """Whether all models were measured on the clean set before.

    Then a report can be made even though the images are gone.
    """

    def is_stored(candidate: Candidate) -> bool:
        evaluator = ModelEvaluator(
            suite, candidate, store, settings, Failures(), lambda *_: None
        )
        evaluator.loaded = None  # nothing is measured
        evaluator.fit()
        return evaluator.evaluate(evaluator.clean, scored=True) is not None

    return all(map(is_stored, candidates))


def check_scores(candidates: Sequence, names: Sequence[str]) -> None:
    """Raise if none of the models can have a score.

    Raises:
        ValueError: There is such a score.
    """
    for name in names:
        if not any(one.can_have(name) for one in candidates):
            kind = 'an anchored model' if name in REVERSE_SCORES else 'a model'
            raise ValueError(
                f'Expected {kind} that is no ensemble for the score {name}, '
                f'but got {", ".join(one.name for one in candidates)}. Leave '
                'it out of --scores, or name such a model.'
            )


class Failures:
    """Collects what could not be measured, so that the rest can go on.

    Attributes:
        missing (Dict[str, str]): The reason for each set that is not on disk.
        failed (List[dict]): ``model``, ``name`` and ``reason`` of each other
            failure.
    """

    def __init__(self):
        self.missing: dict[str, str] = {}
        self.failed: list[dict] = []

    def attempt(
        self,
        model: str | None,
        name: str,
        function: Callable,
        *args,
        doing: str = '',
    ):
        """Call a function; if it fails, record why, and return None.

        Args:
            model (str, optional): The model to blame; None if the set is bad
                for all models.
            name (str): The set. If it is missing, nothing is called.
            function (Callable): What to call.
            *args: Its arguments.
            doing (str): Words before the name of the set in the record of a
                failure. Defaults to none.
        """
        if name in self.missing:
            return None
        try:
            return function(*args)
        except FileNotFoundError as error:
            self.missing[name] = str(error)
        except (ImportError, CannotSave):
            raise  # every other set would fail for the same reason
        except Exception as error:
            # Bad files make libraries raise anything. One set that can't be
            # measured must not stop the others.
            self.record(model, doing + name, error)
        return None

    def record(self, model: str | None, name: str, error: Exception) -> None:
        """Record a failure, once."""
        reason = str(error)
        if not isinstance(error, (ValueError, OSError)):
            reason = f'{type(error).__name__}: {reason}'
        failure = dict(model=model, name=name, reason=reason)
        if failure not in self.failed:
            self.failed.append(failure)


class ModelEvaluator:
    """Measures one model on one test set at a time.

    Results that are in the store are read from it. The model is loaded only
    if something is left to measure.

    Attributes:
        fits (list[HeldOutFit]): How logits are scaled. The metrics are
            computed with each.
        num_held_out (int): The number of images that they are fitted on.
    """

    def __init__(
        self,
        suite: Suite,
        candidate: Candidate,
        store: ResultStore,
        settings: Settings,
        failures: Failures,
        report: ReportProgress,
    ):
        self.suite, self.candidate = suite, candidate
        self.store, self.settings = store, settings
        self.failures, self.report = failures, report
        self.fits = [HeldOutFit()]
        self.num_held_out = 0

    @cached_property
    def loaded(self) -> LoadedModel | None:
        """The model; None if it can't be loaded, which is recorded once."""
        try:
            return self.candidate.load(self.settings.device)
        except (TypeError, ValueError, FileNotFoundError) as error:
            self.failures.record(self.candidate.name, 'the model', error)
            return None

    @property
    def scores(self) -> tuple[str, ...]:
        """The anomaly scores that this kind of model can have."""
        return tuple(
            name
            for name in self.settings.scores
            if self.candidate.can_have(name)
        )

    @cached_property
    def feature_scores(self) -> FeatureScores:
        """The fitted scores of features; failures to fit are recorded once."""
        names = [name for name in self.scores if name in FEATURE_SCORES]
        if not names or self.loaded is None:
            return {}
        model = self.candidate.name
        try:
            features = training_features(
                self.candidate,
                self.loaded,
                self.settings,
                lambda share: self.report(f'{model}: training set', share),
            )
            return fit_feature_scores(
                names,
                self.loaded,
                features,
                partial(self.failures.record, model),
            )
        except (OSError, TypeError, ValueError) as error:
            self.failures.record(model, ', '.join(names), error)
            return {}

    @property
    def clean(self) -> Cell:
        """The clean test set."""
        return next(self.suite.clean.cells())

    def fit(self) -> None:
        """Fit what the settings ask for on the held-out clean images."""
        if not self.settings.holds_out:
            return
        depends_on = self._depends_on(self.clean, held_out=True)
        name = 'held out'
        stored = self.store.get(name, depends_on)
        if stored is None and self.loaded is not None:
            stored = self._attempt(
                'held-out images of ',
                self._predict_held_out,
                name,
                depends_on,
            )
        if stored is None:
            return
        logits, labels = (
            torch.from_numpy(stored[1][key]) for key in ('answers', 'labels')
        )
        self.num_held_out = len(labels)
        self.fits = fit_held_out(logits, labels, self.settings, self._attempt)

    def _attempt(self, doing: str, function: Callable, *args):
        """Call a function that needs the clean set; see `Failures`."""
        return self.failures.attempt(
            self.candidate.name, self.clean.name, function, *args, doing=doing
        )

    def _predict_held_out(self, name: str, depends_on: dict) -> tuple:
        batches = self.batches(self.clean, held_out=True)
        (measured,) = measure(
            self.loaded,
            batches,
            self.settings.device,
            figures=False,
            amp=self.settings.amp,
            keep_answers=True,
            report=self._reporter(batches, self.clean),
        )
        result = dict(num_images=len(batches))
        arrays = dict(
            answers=measured.answers.cpu().numpy(),
            labels=batches.labels.numpy(),
        )
        self.store.save(name, depends_on, result, arrays)
        return result, arrays

    def evaluate(
        self,
        cell: Cell,
        scored: bool = False,
        figures: bool = True,
        classes: Sequence[int] | None = None,
    ) -> list[dict] | None:
        """Measure the model on a test set, in one pass over its images.

        Args:
            cell (Cell): The set.
            scored (bool): Whether to compute anomaly scores. Defaults to
                False.
            figures (bool): Whether to compute metrics, which need labels.
                Defaults to True.
            classes (Sequence[int], optional): The only classes that the model
                may predict, and whose images are used. Defaults to those that
                the set declares.

        Returns:
            list[dict] | None: For each of ``fits`` ``figures``,
            ``reliability``, ``scores``, ``right``, ``num_images`` and
            ``kept_classes``. The first one also has ``images`` if both scores
            and metrics are asked for (see
            :class:`~mmanchor.suite.measure.Measured`), with the ``row`` of
            each image in its set, and ``classes``, their names. None if the
            set can't be measured.
        """

        def depends_on_scores(scores: tuple[str, ...]) -> dict:
            return self._depends_on(
                cell,
                fits=fits_as_json(self.fits),
                scores=scores,
                fit_share=self.settings.fit_share,
                figures=figures,
                kept=classes,
                **(dict(images=True) if scored and figures else {}),
            )

        scores = self.scores if scored else ()
        depends_on, name = depends_on_scores(scores), str(cell)
        stored = self.store.get(name, depends_on)
        if stored is None:
            # Save the result under the scores that it has, so that the
            # others are computed as soon as they can be fitted.
            fitted = tuple(
                one
                for one in scores
                if one not in FEATURE_SCORES or one in self.feature_scores
            )
            if fitted != scores:
                depends_on = depends_on_scores(fitted)
                stored = self.store.get(name, depends_on)
        if stored is None and self.loaded is not None:
            stored = self.failures.attempt(
                self.candidate.name,
                cell.name,
                self._measure,
                name,
                depends_on,
                cell,
                figures,
                classes,
            )
        if stored is None:
            return None
        result, arrays = stored
        for i, one in enumerate(result['fits']):
            one.update(
                num_images=result['num_images'],
                kept_classes=result['kept_classes'],
                scores=_with_prefix(arrays, f'{i} '),
                right=arrays.get(f'right {i}'),
            )
        result['fits'][0].update(
            images=_with_prefix(arrays, 'images '),
            classes=result.get('classes'),
        )
        return result['fits']

    def _measure(self, name, depends_on, cell, figures, classes) -> tuple:
        batches = self.batches(cell, classes)
        scores = depends_on['scores']
        measured = measure(
            self.loaded,
            batches,
            self.settings.device,
            self.fits,
            figures,
            scores,
            classes,
            self.settings.amp,
            single_references=self.settings.single_references,
            keep_images='images' in depends_on,
            feature_scores=self.feature_scores if scores else None,
            report=self._reporter(batches, cell),
        )
        result = dict(
            num_images=len(batches),
            kept_classes=batches.kept_classes,
            fits=[
                dict(figures=one.figures, reliability=one.reliability)
                for one in measured
            ],
        )
        arrays = {}
        for i, one in enumerate(measured):
            for key, values in one.scores.items():
                arrays[f'{i} {key}'] = values
            if one.right is not None:
                arrays[f'right {i}'] = one.right
        if measured[0].images:
            classes = batches.dataset.metainfo.get('classes')
            result['classes'] = classes and list(map(str, classes))
            images = dict(measured[0].images, row=batches.rows)
            for key, values in images.items():
                arrays[f'images {key}'] = values
        self.store.save(name, depends_on, result, arrays)
        return result, arrays

    def references(self) -> np.ndarray | None:
        """The first references, (K, H, W, C), as RGB bytes to look at.

        It is None where no images may be stored, or if the model can't be
        loaded.
        """
        if not self.settings.images:
            return None
        depends_on = dict(candidate=self.candidate.settings, **self._made_with)
        stored = self.store.get('references', depends_on)
        if stored is None:
            if self.loaded is None:
                return None
            images = self._bank_images(self.loaded)
            stored = dict(count=len(images)), dict(references=images)
            self.store.save('references', depends_on, *stored)
        return stored[1]['references']

    @staticmethod
    def _bank_images(loaded: LoadedModel) -> np.ndarray:
        bank = getattr(loaded.model, 'reference_bank', None)
        if bank is None:  # each member of an ensemble has its own
            return np.empty((0, 0, 0, 0), np.uint8)
        images = bank.in_use[:REFERENCES_SHOWN].cpu()
        if images.is_floating_point():
            low, high = images.min(), images.max()
            images = (images - low) / (high - low).clamp(min=1e-9) * 255
        images = images.to(torch.uint8).permute(0, 2, 3, 1).numpy()
        if loaded.pipeline.channel_order == 'bgr':
            images = images[..., ::-1]
        return np.ascontiguousarray(images)

    def batches(
        self, cell: Cell, classes=None, held_out: bool = False
    ) -> ImageBatches:
        """The images of a set that the model is measured on.

        Args:
            cell (Cell): The set.
            classes (Sequence[int], optional): Whose images to use. Defaults
                to all.
            held_out (bool): Whether to take the held-out images instead of
                the others, where images are held out. Defaults to False.

        Raises:
            FileNotFoundError: The set is not on disk.
            ValueError: The classes of the set are not those of the model, or
                the set is damaged.
        """
        batches = ImageBatches(
            cell,
            self.loaded.pipeline,
            self.settings.batch_size,
            self.settings.workers,
            pin_memory=self.settings.device.startswith('cuda'),
        )
        if not cell.is_ood:
            check_classes(
                self.loaded.classes,
                batches.dataset.metainfo.get('classes'),
                self.candidate.checkpoint,
                cell.name,
            )
        rows = np.arange(len(batches))
        # corrupted arrays are the clean images, in their order
        if self.settings.holds_out and (
            cell == self.clean or isinstance(batches.dataset, CorruptedArrays)
        ):
            copied = rows
            if cell != self.clean:
                mask = clean_mask(cell.dataset['data_root'])
                if mask is not None:  # it has copies of some clean images
                    rows, copied = np.arange(len(mask)), np.flatnonzero(mask)
            drawn = self.suite.held_out.rows(len(rows), held_out)
            rows = np.flatnonzero(np.isin(copied, drawn))
        if classes is not None:
            rows = rows[np.isin(batches.labels[rows], classes)]
        if len(rows) < len(batches):
            batches.select(rows)
        return batches

    def _reporter(self, batches, cell: Cell) -> Callable[[int], None]:
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            self.report(f'{self.candidate.name}: {cell}', done / len(batches))

        return report

    @cached_property
    def _made_with(self) -> dict:
        return dict(versions=versions(), commit=commit())

    def _depends_on(self, cell: Cell, **others) -> dict:
        """Everything that the result of a pass depends on."""
        held_out = (self.suite.held_out.share, self.suite.held_out.seed)
        settings = self.settings
        return dict(
            candidate=self.candidate.settings,
            cell=repr(cell),
            is_cropped=cell.is_cropped,
            stamp=fingerprint(cell),
            left_out=held_out if settings.holds_out else None,
            batch_size=settings.batch_size,
            amp=settings.amp,
            single_references=settings.single_references,
            device=settings.device.partition(':')[0],
            **self._made_with,
            **others,
        )


def _with_prefix(arrays: dict, prefix: str) -> dict:
    """The arrays whose names begin with a prefix, by the rest of the name."""
    return {
        key.removeprefix(prefix): values
        for key, values in arrays.items()
        if key.startswith(prefix)
    }


class ModelRun:
    """Measures one model on all test sets and summarises the results.

    Attributes:
        images (Dict[str, np.ndarray]): The predictions for each clean image,
            after they are measured; see :meth:`ModelEvaluator.evaluate`.
        classes (List[str], optional): The names of the classes.
        answers (List[ImageAnswers]): What the model answered to each image,
            with each of the evaluator's ``fits``.
    """

    def __init__(self, evaluator: ModelEvaluator, done: Callable[[int], None]):
        self.evaluator, self.done = evaluator, done
        self.suite, self.settings = evaluator.suite, evaluator.settings
        self.candidate = evaluator.candidate
        self.images: dict[str, np.ndarray] = {}
        self.classes: list[str] | None = None
        self.answers: list[ImageAnswers] = []

    def rows(self) -> list[dict]:
        """Measure the model, without and with scaled logits.

        Returns:
            list[dict]: Entries of ``models`` in ``results.json``.
        """
        self.evaluator.fit()
        self.answers = [ImageAnswers() for _ in self.evaluator.fits]
        clean = self.evaluator.evaluate(self.evaluator.clean, scored=True)
        if clean:
            self.images, self.classes = clean[0]['images'], clean[0]['classes']
            self._keep_right(self.suite.clean.name, [clean])
        if 'reference_predicted' in self.images:
            references = self.evaluator.references()
            if references is not None:
                self.images['references'] = references
        self.done(1)
        shifts = {one.name: self._shift(one) for one in self.suite.shifts}
        ood = {one.name: self._ood(one, clean) for one in self.suite.ood}
        rows = [
            self._row(i, clean, shifts, ood)
            for i in range(len(self.evaluator.fits))
        ]
        for fit, row in zip(self.evaluator.fits[1:], rows[1:]):
            kind, fitted = fit.entry
            fitted.update(
                num_images=self.evaluator.num_held_out,
                **asdict(self.suite.held_out),
            )
            self._save_beside_checkpoint(kind, fitted)
            rows[0][kind] = dict(
                fitted,
                before=rows[0]['clean'] and rows[0]['clean']['figures'],
                after=row['clean'] and row['clean']['figures'],
            )
        return rows

    def _row(self, i: int, clean, shifts, ood) -> dict:
        """The entry of ``results.json`` with one of the fits."""
        fit = self.evaluator.fits[i]
        temperature = fit.scaling if isinstance(fit.scaling, float) else None
        shifts = {
            key: summarise_shift({of: cell[i] for of, cell in cells.items()})
            for key, cells in shifts.items()
            if cells is not None
        }
        ood = {key: one[i] for key, one in ood.items() if one is not None}
        on_disk = [
            one
            for one in self.suite.ood
            if one.name not in self.evaluator.failures.missing
        ]
        return dict(
            name=self.candidate.name + fit.suffix,
            **self.candidate.describe(),
            logits_divided_by=temperature,
            temperature=None,
            vector_scaling=None,
            prediction_sets=fit.decisions.get('prediction_sets'),
            abstention=fit.decisions.get('abstention'),
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
            ood_means=mean_by_group(ood, on_disk),
        )

    def _mce(self, shifts: dict[str, dict]) -> float | None:
        """The mean corruption error in %, if the settings ask for it."""
        name = self.settings.mce and set_for_mce(self.suite).name
        if name not in shifts:
            return None
        by_kind = shifts[name]['by_kind'].items()
        return mean_corruption_error(
            {kind: 100 - one['top1'] for kind, one in by_kind}
        )

    def _shift(self, one: SuiteSet) -> dict[tuple, list[dict]] | None:
        """Results by kind and severity; None if any of them is missing."""
        cells = list(one.cells())
        results: dict[tuple, list[dict]] = dict.fromkeys(
            (cell.kind, cell.severity) for cell in cells
        )
        # Missing kinds come first: measuring the others would be in vain.
        cells.sort(key=lambda cell: cell.kind is None or is_on_disk(cell))
        for i, cell in enumerate(cells):
            measured = self.evaluator.evaluate(cell)
            if measured is None:
                self.done(len(cells) - i)
                return None
            results[cell.kind, cell.severity] = measured
            self.done(1)
        self._keep_right(one.name, list(results.values()))
        return results

    def _keep_right(self, name: str, cells: list[list[dict]]) -> None:
        """Keep which answers are right, to compare models image by image."""
        for i, answers in enumerate(self.answers):
            right = [cell[i]['right'] for cell in cells]
            # results of older versions do not have them
            if right and all(one is not None for one in right):
                answers.right[name] = right

    def _ood(
        self, one: SuiteSet, clean: list[dict] | None
    ) -> list[dict] | None:
        """Compare the scores of a set's images with those of clean images."""
        outside, inside, evaluate = None, clean, self.evaluator.evaluate
        if clean is not None:
            outside = evaluate(one.as_ood(), scored=True, figures=False)
            classes = outside and outside[0]['kept_classes']
            if classes:
                inside = evaluate(
                    self.evaluator.clean,
                    scored=True,
                    figures=False,
                    classes=classes,
                )
        self.done(1)
        if outside is None or inside is None:
            return None
        for answers, side, out in zip(self.answers, inside, outside):
            answers.scores[one.name] = {
                score: (side['scores'][score], values)
                for score, values in out['scores'].items()
            }
        return [
            dict(
                num_images=out['num_images'],
                scores=self._compare(side['scores'], out['scores']),
            )
            for side, out in zip(inside, outside)
        ]

    def _compare(self, inside, outside) -> dict[str, dict]:
        """Leave out scores that the model lacks or that are constant."""
        return {
            name: compare_scores(inside[name], outside[name])
            for name in self.settings.scores
            if name in outside
            and np.ptp(np.concatenate([inside[name], outside[name]])) > 0
        }

    def _save_beside_checkpoint(self, kind: str, fit: dict) -> None:
        """Save a fit beside the checkpoint.

        If that is not possible, ``results.json`` still has it.
        """
        if isinstance(self.candidate, EnsembleCandidate):
            return  # it has no checkpoint of its own
        checkpoint = (self.candidate.checkpoint, self.candidate.sha256, kind)
        how = self.candidate.how or 'plain'
        if read_fits(*checkpoint).get(how) != fit:
            with suppress(OSError, ValueError):  # a folder may be read-only
                save_fit(*checkpoint, how, fit)
