"""Measuring the model of a cell: its record, its answering time, its weights.

The figures are those of the safety suite; a record keeps what a table could
need and leaves out what only the suite's own figures use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.benchmark import timer

from ..checkpoints.model_loading import load_classifier
from ..suite.cache import ResultStore
from ..suite.candidates import Candidate, LoadedModel
from ..suite.corrupted_sets import describe_corruptions, make_corrupted
from ..suite.ensembles import EnsembleCandidate
from ..suite.images import ImageBatches
from ..suite.measure import predict_batch
from ..suite.runner import run_suite
from ..suite.spec import Settings, Suite
from ..utils.files import state_sha256
from .cells import StudyCell, Training, with_data_root

TIMED_IMAGES = 1000
SIGNIFICANT_DIGITS = 7  # of the numbers in a record
TEMPERATURE = 'temperature on '  # the suite's name of a failed fit begins so
_ABOUT_MODEL = (
    'classifier',
    'num_references',
    'protocol',
    'average',
    'select',
    'reference_seed',
)
_ABOUT_SHIFT = ('num_images', 'mean', 'by_severity', 'by_kind')
_OOD_METRICS = ('auroc', 'aupr', 'fpr95')


@dataclass(frozen=True)
class Benchmark:
    """The suite that models are measured on, and its settings.

    References may be drawn from the data sets in ``data_root``.
    """

    suite: Suite
    settings: Settings
    data_root: str

    def candidate(
        self, cell: StudyCell, checkpoints: Sequence[str]
    ) -> Candidate | EnsembleCandidate:
        """The model of a cell, or its models as one ensemble."""
        members = tuple(
            Candidate(
                cell.setting.name,
                with_data_root(cell.test_config_of(training), self.data_root),
                checkpoint,
                training.config_name,
            )
            for training, checkpoint in zip(cell.trainings, checkpoints)
        )
        if len(members) == 1:
            return members[0]
        return EnsembleCandidate(cell.setting.name, members)


def measure_by_suite(
    cell: StudyCell,
    checkpoints: Sequence[str],
    benchmark: Benchmark,
    folder: Path,
    report: Callable[[float], None],
) -> dict[str, Any]:
    """Measure a cell's model on the suite, and how long it takes to answer.

    Args:
        cell (StudyCell): The cell.
        checkpoints (Sequence[str]): The checkpoint of its model; several for
            an ensemble.
        benchmark (Benchmark): The suite.
        folder (Path): The folder for results of single test sets, which are
            not measured again.
        report (Callable): Called with the share that is done, from 0 to 1.

    Returns:
        dict: ``model``, see :func:`record_of`; the ``missing`` and ``failed``
        test sets; the ``unfitted`` temperatures; ``weights``, the SHA-256 of
        each model's weights; ``times``.

    Raises:
        ValueError: The checkpoint does not fit the config.
    """
    suite, settings = benchmark.suite, benchmark.settings
    candidate = benchmark.candidate(cell, checkpoints)
    num_done = 0

    def count(number: int) -> None:
        nonlocal num_done
        num_done += number
        report(num_done / suite.num_cells)

    outcome = run_suite(
        suite, [candidate], ResultStore(folder / 'parts'), settings, done=count
    )
    # a model that is right on all held-out images, or no better than chance,
    # has no temperature: this is no failure, and its temperature stays 1
    unfitted, failed = [], []
    for one in outcome.failed:
        if one['name'].startswith(TEMPERATURE):
            unfitted.append(dict(name=one['name'], reason=one['reason']))
        else:
            failed.append(one)
    model, times = record_of(outcome.models, settings.temperature), {}
    if not failed:
        ready = candidate.load(settings.device)
        model['stem_distance'] = getattr(ready.model, 'stem_distance', None)
        times['seconds'] = answer_seconds(ready, suite, settings)
    return dict(
        model=round_floats(model),
        missing=outcome.missing,
        unfitted=unfitted,
        failed=failed,
        corruptions=describe_corruptions(suite),
        weights=' + '.join(map(weights_sha256, cell.trainings, checkpoints)),
        times=times,
    )


def record_of(rows: list[dict], scaled: bool = True) -> dict:
    """Select what a cell's record keeps of a suite's results for its model.

    ``rows`` are those of :meth:`~mmanchor.suite.runner.ModelRun.rows`: the
    model before and, if a temperature was fitted, after scaling.

    Returns:
        dict: ``clean``, ``shifts`` and ``ood`` of the first row, with only
        the accuracy for each pair of kind and severity. If scaling was asked
        for, also ``temperature``, which is 1 if none could be fitted, and
        ``temperature_scaled`` with ``clean`` and ``shifts`` after scaling.
    """
    row = rows[0]
    last = rows[1] if row['temperature'] else row
    record = dict(
        **_only(_ABOUT_MODEL, row),
        clean=row['clean'],
        shifts={
            name: dict(
                _only(_ABOUT_SHIFT, one), cells=_accuracies(one['cells'])
            )
            for name, one in row['shifts'].items()
        },
        ood={
            name: dict(
                num_images=one['num_images'],
                scores={
                    score: _only(_OOD_METRICS, values)
                    for score, values in one['scores'].items()
                },
            )
            for name, one in row['ood'].items()
        },
    )
    if scaled:
        fit = dict(row['temperature'] or dict(temperature=1.0))
        fit.pop('before', None)
        fit.pop('after', None)
        record['temperature'] = fit
        record['temperature_scaled'] = dict(
            clean=last['clean'],
            shifts={
                name: _only(_ABOUT_SHIFT, one)
                for name, one in last['shifts'].items()
            },
        )
    return record


def _only(keys: Sequence[str], values: dict) -> dict:
    return {key: values[key] for key in keys}


def _accuracies(cells: dict | None) -> dict | None:
    return cells and {
        kind: {
            severity: values['top1'] for severity, values in of_kind.items()
        }
        for kind, of_kind in cells.items()
    }


def round_floats(value: Any) -> Any:
    """Round all floats of a record, or of a value in one, to seven digits.

    Example:
        >>> round_floats(dict(top1=[61.4444444444444444, None, 3]))
        {'top1': [61.44444, None, 3]}
    """
    if isinstance(value, dict):
        return {key: round_floats(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_floats(one) for one in value]
    if isinstance(value, float):
        return float(f'{value:.{SIGNIFICANT_DIGITS}g}')
    return value


def make_corrupted_sets(
    suite: Suite, workers: int, report: Callable[[str, float], None]
) -> None:
    """Make the corrupted sets of a suite; one process does so for all.

    A set that cannot be made is skipped: measuring meets the same error and
    records it for each cell. ``report`` is called with what is made and the
    share that is done.
    """
    for one in suite.shifts:
        if not one.make:
            continue
        try:
            make_corrupted(
                suite,
                one,
                workers,
                lambda kind, done, total: report(
                    f'corrupt: {kind}', done / total
                ),
                wait=True,
            )
        except (ImportError, OSError, ValueError):
            pass


def answer_seconds(
    ready: LoadedModel, suite: Suite, settings: Settings
) -> float:
    """Time a model on 1000 clean images, without the time to read them.

    The clean set is used repeatedly if it is small. The seconds are the median
    of three rounds.
    """
    batches = ImageBatches(
        next(suite.clean.cells()),
        ready.pipeline,
        settings.batch_size,
        settings.workers,
    )
    timed, count = [], 0
    while count < TIMED_IMAGES:
        for images in batches:
            timed.append(images[: TIMED_IMAGES - count])
            count += len(timed[-1])
            if count == TIMED_IMAGES:
                break
    device = torch.device(settings.device)
    times = []
    for _ in range(4):
        start = timer()
        for images in timed:
            with torch.autocast(device.type, enabled=settings.amp):
                predict_batch(ready.model, images)
        times.append(timer() - start)
    return median(times[1:])  # the first round is slower


def weights_sha256(training: Training, checkpoint: str) -> str:
    """Compute the SHA-256 of a model's weights.

    The file's own checksum would differ from run to run, because a
    checkpoint contains times.
    """
    model, _ = load_classifier(training.cfg, checkpoint)
    return state_sha256(model.state_dict())
