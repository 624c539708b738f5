"""What is measured of a trained model of a study."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.model_loading import load_classifier
from ..suite.cache import Parts
from ..suite.candidates import Candidate, Ready
from ..suite.corrupted_sets import describe_corruptions, make_corrupted
from ..suite.ensembles import EnsembleCandidate
from ..suite.images import ImageBatches
from ..suite.predict import predict_batch
from ..suite.runner import run_suite
from ..suite.settings import Settings
from ..suite.spec import Suite
from ..utils.timing import seconds
from .cells import StudyCell
from .data_root import with_data_root
from .training import Training

TIMED = 1000  # images
TEMPERATURE = 'temperature on '  # how the suite calls what it can't fit
_OF_MODEL = (
    'classifier',
    'num_references',
    'protocol',
    'average',
    'select',
    'reference_seed',
)
_OF_SCORE = ('auroc', 'aupr', 'fpr95')
DIGITS = 7  # significant ones of what is kept


@dataclass(frozen=True)
class Bench:
    """What models are measured with.

    Args:
        suite (Suite): With the data sets where they are.
        settings (Settings): Of the suite.
        data_root (str): Where references are drawn from, if they are.
    """

    suite: Suite
    settings: Settings
    data_root: str

    def candidate(
        self, cell: StudyCell, checkpoints: Sequence[str]
    ) -> Candidate | EnsembleCandidate:
        """A cell's model, or its models as one."""
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
    bench: Bench,
    folder: Path,
    report: Callable[[float], None],
) -> dict[str, dict]:
    """Measure a cell's model on a suite, and how long it takes to answer.

    Args:
        cell (StudyCell): Any.
        checkpoints (Sequence[str]): Its model's; several of an ensemble.
        bench (Bench): The suite.
        folder (Path): Where parts are kept.
        report (Callable): Told how much is done, from 0 to 1.

    Returns:
        dict: ``model``, see :func:`record_of`; ``missing`` and ``failed``
        sets; ``unfitted`` temperatures; ``weights``, the
        SHA-256 of each model's; ``times``.

    Raises:
        ValueError: The checkpoint is not the config's.
    """
    suite, settings = bench.suite, bench.settings
    candidate = bench.candidate(cell, checkpoints)
    passes = (
        1
        + len(suite.ood)
        + sum(len(list(one.cells())) for one in suite.shifts)
    )
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        report(done / passes)

    outcome = run_suite(
        suite, [candidate], Parts(folder / 'parts'), settings, done=count
    )
    # no temperature fits a model that is right on all held-out images, or no
    # better than chance: it stays as it is
    unfitted = [
        dict(name=one['name'], reason=one['reason'])
        for one in outcome.failed
        if one['name'].startswith(TEMPERATURE)
    ]
    failed = [
        one
        for one in outcome.failed
        if not one['name'].startswith(TEMPERATURE)
    ]
    model, times = record_of(outcome.models, settings.temperature), {}
    if not failed:
        ready = candidate.load(settings.device)
        model['stem_distance'] = getattr(ready.model, 'stem_distance', None)
        times['seconds'] = answer_seconds(ready, suite, settings)
    return dict(
        model=rounded(model),
        missing=outcome.missing,
        unfitted=unfitted,
        failed=failed,
        corruptions=describe_corruptions(suite),
        weights=' + '.join(map(weights_of, cell.trainings, checkpoints)),
        times=times,
    )


def record_of(rows: list[dict], scale: bool = True) -> dict:
    """What a cell keeps of a suite's results for its model.

    All that a table could want, and nothing that only the suite's own figures
    need (bins of reliability diagrams, histograms, curves), nor where files
    were.

    Args:
        rows (List[dict]): The model before temperature scaling and, where it
            could be fitted, after; see
            :meth:`~mmanchor.suite.candidate_run.CandidateRun.rows`.
        scale (bool): Whether temperature scaling was asked for. Defaults to
            True.

    Returns:
        dict: Parts of the first row: ``clean``, ``shifts``, ``ood``, and so
        on, of kind and severity together the accuracy alone; ``temperature``,
        1 where none could be fitted, and ``temperature_scaled`` with
        ``clean`` and ``shifts`` again.
    """
    row = rows[0]
    scaled = rows[1] if row['temperature'] else row
    temperature = row['temperature'] or dict(temperature=1.0)
    after = (
        {}
        if not scale
        else dict(
            temperature={
                key: value
                for key, value in temperature.items()
                if key not in ('before', 'after')
            },
            temperature_scaled=dict(
                clean=scaled['clean'],
                shifts={
                    name: _summary(one)
                    for name, one in scaled['shifts'].items()
                },
            ),
        )
    )
    return dict(
        **{key: row[key] for key in _OF_MODEL},
        clean=row['clean'],
        shifts={
            name: dict(_summary(one), cells=_accuracies(one['cells']))
            for name, one in row['shifts'].items()
        },
        ood={
            name: dict(
                num_images=one['num_images'],
                scores={
                    score: {key: found[key] for key in _OF_SCORE}
                    for score, found in one['scores'].items()
                },
            )
            for name, one in row['ood'].items()
        },
        **after,
    )


def _summary(one: dict) -> dict:
    return {
        key: one[key]
        for key in ('num_images', 'mean', 'by_severity', 'by_kind')
    }


def _accuracies(cells: dict | None) -> dict | None:
    return cells and {
        kind: {
            severity: figures['top1'] for severity, figures in of_kind.items()
        }
        for kind, of_kind in cells.items()
    }


def rounded(value: Any) -> Any:
    """The same with floats of seven significant digits.

    Example:
        >>> rounded(dict(top1=[61.4444444444444444, None, 3]))
        {'top1': [61.44444, None, 3]}
    """
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return float(f'{value:.{DIGITS}g}') if isinstance(value, float) else value


def make_sets(
    suite: Suite, workers: int, report: Callable[[str, float], None]
) -> None:
    """Corrupt what a suite wants corrupted, one process for all studies.

    What is wrong with it is left to the cells to find and to keep.

    Args:
        suite (Suite): With the data sets where they are.
        workers (int): Processes that corrupt.
        report (Callable): Told what is made, and how much of it is done.
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
            pass  # met again, and told, in measuring


def answer_seconds(
    ready: Ready, suite: Suite, settings: Settings, rounds: int = 3
) -> float:
    """Seconds for 1000 clean images: the median of some rounds.

    Reading images is not in it.

    Args:
        ready (Ready): The model.
        suite (Suite): Whose clean set is taken, over and over if it is small.
        settings (Settings): Batch size and device.
        rounds (int): How often. Defaults to 3.
    """
    batches = ImageBatches(
        next(suite.clean.cells()),
        ready.pipeline,
        settings.batch_size,
        settings.workers,
    )
    found, count = [], 0
    while count < TIMED:
        for images in batches:
            found.append(images[: TIMED - count])
            count += len(found[-1])
            if count == TIMED:
                break
    device = torch.device(settings.device)

    def work() -> None:
        for images in found:
            with torch.autocast(device.type, enabled=settings.amp):
                predict_batch(ready.model, images)

    work()
    return sorted(seconds(work, device) for _ in range(rounds))[rounds // 2]


def weights_of(training: Training, checkpoint: str) -> str:
    """SHA-256 of a model's weights, without the times a checkpoint has."""
    model, _ = load_classifier(training.cfg, checkpoint)
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
