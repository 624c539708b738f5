"""What is measured of a trained model of a study."""
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict

import torch

from ..checkpoints.model_loading import load_classifier
from ..suite.cache import Parts
from ..suite.candidates import Candidate, Ready
from ..suite.corrupted_sets import describe_corruptions, make_corrupted
from ..suite.images import ImageBatches
from ..suite.predict import predict_batch
from ..suite.runner import run_suite
from ..suite.settings import Settings
from ..suite.spec import Suite
from ..utils.timing import seconds
from .cells import Cell
from .data_root import with_data_root

TIMED = 1000  # images
_OF_FILES = ('config', 'checkpoint', 'sha256')


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

    def candidate(self, cell: Cell, checkpoint: str) -> Candidate:
        """A cell's model."""
        return Candidate(cell.setting.name,
                         with_data_root(cell.test_config, self.data_root),
                         checkpoint, cell.training.config_name)


def measure_by_suite(cell: Cell, checkpoint: str, bench: Bench, folder: Path,
                     report: Callable[[float], None]) -> Dict[str, dict]:
    """Measure a cell's model on a suite, and how long it takes to answer.

    Args:
        cell (Cell): Any.
        checkpoint (str): Its model's.
        bench (Bench): The suite.
        folder (Path): Where parts are kept.
        report (Callable): Told how much is done, from 0 to 1.

    Returns:
        dict: ``model`` as in a suite's results; ``missing`` and ``failed``
        sets; ``weights``, their SHA-256; ``times``.

    Raises:
        ValueError: The checkpoint is not the config's.
    """
    suite, settings = bench.suite, bench.settings
    candidate = bench.candidate(cell, checkpoint)
    passes = 1 + len(suite.ood) + sum(
        len(list(one.cells())) for one in suite.shifts)
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        report(done / passes)

    outcome = run_suite(
        suite, [candidate], Parts(folder / 'parts'), settings, done=count)
    model, = outcome.models
    times = {}
    if 'seconds' in cell.study.metrics:
        times['seconds'] = answer_seconds(
            candidate.load(settings.device), suite, settings)
    return dict(
        model={
            key: value
            for key, value in model.items() if key not in _OF_FILES
        },
        missing=outcome.missing,
        failed=outcome.failed,
        corruptions=describe_corruptions(suite),
        weights=weights_of(cell, checkpoint),
        times=times)


def make_sets(suite: Suite, workers: int, report: Callable[[str, float],
                                                           None]) -> None:
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
                lambda kind, done, total: report(f'corrupt: {kind}', done /
                                                 total),
                wait=True)
        except (ImportError, OSError, ValueError):
            pass  # met again, and told, in measuring


def answer_seconds(ready: Ready,
                   suite: Suite,
                   settings: Settings,
                   rounds: int = 3) -> float:
    """Seconds for 1000 clean images: the median of some rounds.

    Reading images is not in it.

    Args:
        ready (Ready): The model.
        suite (Suite): Whose clean set is taken, over and over if it is small.
        settings (Settings): Batch size and device.
        rounds (int): How often. Defaults to 3.
    """
    batches = ImageBatches(
        next(suite.clean.cells()), ready.pipeline, settings.batch_size,
        settings.workers)
    found, count = [], 0
    while count < TIMED:
        for images in batches:
            found.append(images[:TIMED - count])
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


def weights_of(cell: Cell, checkpoint: str) -> str:
    """SHA-256 of a model's weights, without the times a checkpoint has."""
    model, _ = load_classifier(cell.training.cfg, checkpoint)
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
