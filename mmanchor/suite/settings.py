"""How a suite is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from .model_scores import find_suite_score

DEFAULT_SCORES = (
    'energy',
    'max_logit',
    'msp',
    'entropy',
    'anchor_score',
    'spread',
)


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
            first. See :class:`~mmanchor.evaluation.AnomalyRejection` and
            :func:`~mmanchor.suite.model_scores.find_suite_score`.
        temperature (bool): Whether to fit temperatures on held-out images,
            and report with them too. Defaults to False.
        mce (bool): Whether to report mCE relative to AlexNet, whose errors
            were published for ImageNet-C. Defaults to False.
        single_references (bool): Whether to measure the accuracy with each of
            K references alone as well. Defaults to False.
        fit_share (float): Of the training images, on whose features scores
            such as ``'KNN'`` are fitted. Defaults to 0.1.
        vector_scaling (bool): Whether to fit a weight and a bias of each
            class on held-out images, and report with them too. Defaults to
            False.
        coverage (float, optional): How often prediction sets, fitted on
            held-out images, are to hold the label. Defaults to None: there
            are none.
        max_error (float, optional): What the error of trusted answers is to
            be at most, by a threshold that is found on held-out images.
            Defaults to None: there is none.

    Raises:
        ImportError: A score is one of pytorch-ood's, which is not installed.
        ValueError: There is no such score, or a number is out of range.
    """

    batch_size: int = 256
    workers: int = 2
    device: str = 'cpu'
    amp: bool = False
    scores: Sequence[str] = DEFAULT_SCORES
    temperature: bool = False
    mce: bool = False
    single_references: bool = False
    fit_share: float = 0.1
    vector_scaling: bool = False
    coverage: float | None = None
    max_error: float | None = None

    def __post_init__(self):
        for name in ('batch_size', 'workers'):
            if getattr(self, name) < 1:
                raise ValueError(
                    f'Expected --{name.replace("_", "-")} to be at least 1, '
                    f'but got {getattr(self, name)}. Change it.'
                )
        if not 0 < self.fit_share <= 1:
            raise ValueError(
                'Expected --fit-share to be above 0 and at most 1, but got '
                f'{self.fit_share}. Change it.'
            )
        for name in ('coverage', 'max_error'):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(
                    f'Expected --{name.replace("_", "-")} to be between 0 and '
                    f'1, but got {value}. Change it.'
                )
        for name in self.scores:
            find_suite_score(name)

    @property
    def holds_out(self) -> bool:
        """Whether some of the clean images are fitted on, and left out."""
        return (
            self.temperature
            or self.vector_scaling
            or self.coverage is not None
            or self.max_error is not None
        )
