"""Passes of one model over test sets, measured or kept from before."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch

from ..checkpoints.model_loading import check_classes
from ..datasets import CorruptedArrays
from ..evaluation.feature_scores import FEATURE_SCORES
from ..utils.provenance import commit, versions
from .cache import Parts
from .candidates import Candidate, Ready
from .corrupted_sets import clean_mask
from .failures import Troubles
from .fingerprints import stamp_of
from .held_out import (
    HeldOutAnswers,
    HeldOutFit,
    fit_held_out,
    of_images,
)
from .images import ImageBatches
from .measure import measure
from .model_scores import FeatureScores, can_have
from .settings import Settings
from .spec import Cell, Suite
from .training_features import fit_feature_scores, training_features

Report = Callable[[str, float], None]
REFERENCES_SHOWN = 5  # beside an image in the report
_OF_SET = ('num_images', 'kept_classes')


class Passes:
    """Measures one model on one test set at a time.

    What was measured before is taken from ``parts``; the model is loaded
    where something is left.

    Args:
        suite (Suite): The test sets.
        candidate (Candidate): The model.
        parts (Parts): Where results are kept.
        settings (Settings): See there.
        troubles (Troubles): Told what can't be measured.
        report (Callable): Told what is measured, and how much of it is done.

    Attributes:
        fits (list[HeldOutFit]): How probabilities are made from logits; each
            has figures of its own.
        num_held_out (int): Images that they are fitted on.
    """

    def __init__(
        self,
        suite: Suite,
        candidate: Candidate,
        parts: Parts,
        settings: Settings,
        troubles: Troubles,
        report: Report,
    ):
        self.suite, self.candidate = suite, candidate
        self.parts, self.settings = parts, settings
        self.troubles, self.report = troubles, report
        self.fits = [HeldOutFit()]
        self.num_held_out = 0

    @cached_property
    def ready(self) -> Ready | None:
        """The model, loaded where something is left to measure.

        None where it can't be, which is noted once.
        """
        try:
            return self.candidate.load(self.settings.device)
        except (TypeError, ValueError, FileNotFoundError) as error:
            self.troubles.note(self.candidate.name, 'the model', error)
            return None

    @property
    def scores(self) -> tuple[str, ...]:
        """The anomaly scores that the model can have."""
        return tuple(
            name
            for name in self.settings.scores
            if can_have(self.candidate, name)
        )

    @cached_property
    def feature_scores(self) -> FeatureScores:
        """Scores of features, fitted; what can't be is noted once."""
        names = [name for name in self.scores if name in FEATURE_SCORES]
        if not names or self.ready is None:
            return {}
        model = self.candidate.name

        def failed(name: str, error: Exception) -> None:
            self.troubles.note(model, name, error)

        try:
            found = training_features(
                self.candidate,
                self.ready,
                self.settings,
                lambda share: self.report(f'{model}: training set', share),
            )
            return fit_feature_scores(names, self.ready, found, failed)
        except (OSError, TypeError, ValueError) as error:
            failed(', '.join(names), error)
            return {}

    @property
    def clean(self) -> Cell:
        """The clean set."""
        return next(self.suite.clean.cells())

    def fit(self) -> None:
        """Fit what settings ask for on the clean images that are held out."""
        if not self.settings.holds_out:
            return
        settings = self._settings(self.clean, held_out=True)
        name = 'held out'
        found = self.parts.get(name, settings)
        if found is None and self.ready is not None:
            found = self.troubles.attempt(
                self.candidate.name,
                self.clean.name,
                lambda: self._answer_held_out(name, settings),
                'held-out images of ',
            )
        if found is None:
            return
        answers = HeldOutAnswers(
            *(torch.from_numpy(found[1][key]) for key in ('answers', 'labels'))
        )
        self.num_held_out = len(answers.labels)
        self.fits = fit_held_out(
            answers,
            self.settings,
            lambda what, function: self.troubles.attempt(
                self.candidate.name, self.clean.name, function, f'{what} on '
            ),
        )

    def _answer_held_out(self, name: str, settings: dict) -> tuple:
        batches = self.batches(self.clean, held_out=True)
        (found,) = measure(
            self.ready,
            batches,
            self.settings.device,
            figures=False,
            amp=self.settings.amp,
            keep_answers=True,
            report=self._reporter(batches, self.clean),
        )
        result = dict(num_images=len(batches))
        arrays = dict(
            answers=found.answers.cpu().numpy(), labels=batches.labels.numpy()
        )
        self.parts.keep(name, settings, result, arrays)
        return result, arrays

    def over(
        self,
        cell: Cell,
        scored: bool = False,
        figures: bool = True,
        kept: Sequence[int] | None = None,
    ) -> list[dict] | None:
        """What is found in one pass over a test set.

        Args:
            cell (Cell): The set.
            scored (bool): Whether anomaly scores are kept. Defaults to False.
            figures (bool): Whether its images are of the classes. Defaults to
                True.
            kept (Sequence[int], optional): Classes that compete, and whose
                images are taken. Defaults to those the set says.

        Returns:
            list[dict] | None: For each of ``fits`` ``figures``,
            ``reliability``, ``scores``, ``num_images``, ``kept_classes``;
            and, where both scores and figures are asked for, ``images`` with
            the first: see :class:`~mmanchor.suite.measure.Measured`, with the
            ``row`` of each image in its set and the first few ``references``.
            None where it can't be measured.
        """

        def with_scores(scores: tuple[str, ...]) -> dict:
            return self._settings(
                cell,
                fits=of_images(self.fits),
                scores=scores,
                fit_share=self.settings.fit_share,
                figures=figures,
                kept=kept,
                **(dict(images=True) if scored and figures else {}),
            )

        scores = self.scores if scored else ()
        settings, name = with_scores(scores), str(cell)
        found = self.parts.get(name, settings)
        lacking = [
            one
            for one in scores
            if found is None
            and one in FEATURE_SCORES
            and one not in self.feature_scores
        ]
        if lacking:  # they could not be fitted, which may be mended later
            settings = with_scores(
                tuple(one for one in scores if one not in lacking)
            )
            found = self.parts.get(name, settings)
        if found is None and self.ready is not None:
            found = self.troubles.attempt(
                self.candidate.name,
                cell.name,
                lambda: self._measure(name, settings, cell, figures, kept),
            )
        if found is None:
            return None
        result, arrays = found
        for i, one in enumerate(result['fits']):
            one.update({key: result[key] for key in _OF_SET})
            one['scores'] = {
                key.partition(' ')[2]: values
                for key, values in arrays.items()
                if key.startswith(f'{i} ')
            }
        result['fits'][0]['images'] = {
            key.partition(' ')[2]: values
            for key, values in arrays.items()
            if key.startswith('images ')
        }
        return result['fits']

    def _measure(self, name, settings, cell, figures, kept) -> tuple:
        batches = self.batches(cell, kept)
        found = measure(
            self.ready,
            batches,
            self.settings.device,
            self.fits,
            figures,
            settings['scores'],
            kept,
            self.settings.amp,
            single_references=self.settings.single_references,
            keep_images='images' in settings,
            feature_scores=self.feature_scores if settings['scores'] else None,
            report=self._reporter(batches, cell),
        )
        result = dict(
            num_images=len(batches),
            kept_classes=batches.kept_classes,
            fits=[
                dict(figures=one.figures, reliability=one.reliability)
                for one in found
            ],
        )
        arrays = {
            f'{i} {key}': values
            for i, one in enumerate(found)
            for key, values in one.scores.items()
        }
        if found[0].images:
            images = dict(found[0].images, row=batches.rows)
            if 'reference_predicted' in images:
                images['references'] = self._references()
            arrays.update(
                {f'images {key}': values for key, values in images.items()}
            )
        self.parts.keep(name, settings, result, arrays)
        return result, arrays

    def _references(self) -> np.ndarray:
        """The first references, (K, H, W, C), as RGB bytes to look at."""
        bank = getattr(self.ready.model, 'reference_bank', None)
        if bank is None:  # members of an ensemble have their own
            return np.empty((0, 0, 0, 0), np.uint8)
        images = bank.in_use[:REFERENCES_SHOWN].cpu()
        if images.is_floating_point():
            low, high = images.min(), images.max()
            images = (images - low) / (high - low).clamp(min=1e-9) * 255
        images = images.to(torch.uint8).permute(0, 2, 3, 1).numpy()
        if self.ready.pipeline.channel_order == 'bgr':
            images = images[..., ::-1]
        return np.ascontiguousarray(images)

    def batches(self, cell: Cell, kept=None, held_out=False) -> ImageBatches:
        batches = ImageBatches(
            cell,
            self.ready.pipeline,
            self.settings.batch_size,
            self.settings.workers,
            pin_memory=self.settings.device.startswith('cuda'),
        )
        if not cell.is_ood:
            check_classes(
                self.ready.classes,
                batches.dataset.metainfo.get('classes'),
                self.candidate.checkpoint,
                cell.name,
            )
        rows = np.arange(len(batches))
        # corrupted arrays are the clean images, in their order
        if self.settings.holds_out and (
            cell == self.clean or isinstance(batches.dataset, CorruptedArrays)
        ):
            mask = (
                None
                if cell == self.clean
                else clean_mask(cell.dataset['data_root'])
            )
            if mask is None:
                rows = self.suite.held_out.rows(len(batches), held_out)
            else:  # of some of the clean images
                clean_rows = self.suite.held_out.rows(len(mask), held_out)
                rows = np.flatnonzero(
                    np.isin(np.flatnonzero(mask), clean_rows)
                )
        if kept is not None:
            rows = rows[np.isin(batches.labels[rows], kept)]
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

    def _settings(self, cell: Cell, **others) -> dict:
        """All that decides what a pass finds."""
        held_out = (self.suite.held_out.share, self.suite.held_out.seed)
        return dict(
            candidate=self.candidate.settings,
            cell=repr(cell),
            is_cropped=cell.is_cropped,
            stamp=stamp_of(cell),
            left_out=held_out if self.settings.holds_out else None,
            batch_size=self.settings.batch_size,
            amp=self.settings.amp,
            single_references=self.settings.single_references,
            device=self.settings.device.partition(':')[0],
            **self._made_with,
            **others,
        )
