"""When to abstain: a threshold that keeps the error below a given level."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .saved_fits import fit_path, read_fits, save_fit

LEVELS = 50  # shares of images that are tried
KIND = 'threshold'  # in the name of the file
# measure of an image: whether larger values speak for the answer
MEASURES = dict(confidence=True, spread=False)


@dataclass(frozen=True)
class Threshold:
    """A threshold that decides which answers to trust.

    Args:
        by (str): ``'confidence'``: answers of at least ``value`` are trusted;
            ``'spread'``: those of at most ``value``.
        value (float): The threshold.
        max_error (float): The largest error of trusted answers that was asked
            for, in [0, 1].
        confidence (float): The confidence that the error is not larger, in
            [0, 1].
        coverage (float): The share of held-out images whose answer is
            trusted.
        error (float): The share of wrong answers among these.
        bound (float): The upper end of the confidence interval of the error.
        num_images (int): The number of held-out images.
    """

    by: str
    value: float
    max_error: float
    confidence: float
    coverage: float
    error: float
    bound: float
    num_images: int

    def trusts(self, measure: np.ndarray) -> np.ndarray:
        """Decide which answers to trust.

        Args:
            measure (np.ndarray): Confidence or spread of each image.

        Shape:
            - measure: (N,)
            - output: (N,), bool
        """
        measure = np.asarray(measure)
        return (
            measure >= self.value
            if MEASURES[self.by]
            else measure <= self.value
        )


def find_threshold(
    measure: np.ndarray,
    wrong: np.ndarray,
    max_error: float,
    by: str = 'confidence',
    confidence: float = 0.95,
) -> Threshold:
    """Find the threshold that trusts most images with an error below a level.

    The largest of ``LEVELS`` shares of the most certain images is taken whose
    error has an upper bound (Clopper and Pearson) of at most ``max_error``.
    As several shares are tried, each has to hold with a probability of
    1 - (1 - ``confidence``) / ``LEVELS``.

    Args:
        measure (np.ndarray): Confidence or spread of each held-out image.
        wrong (np.ndarray): Whether its answer is wrong.
        max_error (float): In (0, 1).
        by (str): What ``measure`` is. Defaults to ``'confidence'``.
        confidence (float): In (0, 1). Defaults to 0.95.

    Shape:
        - measure: (N,)
        - wrong: (N,)

    Raises:
        ImportError: scipy is not installed.
        ValueError: An argument is out of range, or no threshold reaches the
            level on these images.

    Example:
        >>> found = find_threshold(
        ...     np.linspace(0, 1, 1000), np.arange(1000) < 300, 0.05
        ... )
        >>> found.error <= found.bound <= 0.05, found.coverage
        (True, 0.7)

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural
    Networks, NeurIPS 2017, who search the shares by halving.
    """
    for name, value in (('max_error', max_error), ('confidence', confidence)):
        if not 0 < value < 1:
            raise ValueError(
                f'Expected `{name}` to be between 0 and 1, but got {value}. '
                'Change it.'
            )
    if by not in MEASURES:
        raise ValueError(
            f'Expected `by` to be among {", ".join(MEASURES)}, but got '
            f'{by!r}. Change it.'
        )
    try:
        from scipy.stats import beta
    except ImportError as error:
        raise ImportError(
            'Expected scipy, which bounds the error, but it is not installed. '
            'Install it with `pip install "mmanchor[eval]"`.'
        ) from error
    measure, wrong = np.asarray(measure, float), np.asarray(wrong, bool)
    sign = -1 if MEASURES[by] else 1
    ordered = np.sort(sign * measure)
    risk = (1 - confidence) / LEVELS
    best, lowest = None, (1.0, 0.0)
    for i in range(1, LEVELS + 1):
        place = round(i / LEVELS * len(measure)) - 1
        if place < 0:
            continue
        value = sign * ordered[place]
        trusted = sign * measure <= ordered[place]  # ties belong together
        count, errors = int(trusted.sum()), int(wrong[trusted].sum())
        bound = (
            1.0
            if errors == count
            else float(beta.ppf(1 - risk, errors + 1, count - errors))
        )
        lowest = min(lowest, (bound, count / len(measure)))
        if bound <= max_error:
            best = Threshold(
                by,
                float(value),
                max_error,
                confidence,
                count / len(measure),
                errors / count,
                bound,
                len(measure),
            )
    if best is None:
        raise ValueError(
            f'Expected a threshold of {by} with an error of at most '
            f'{max_error} with a confidence of {confidence}, but none of '
            f'{len(measure):,} held-out images has one: the lowest bound is '
            f'{lowest[0]:.3f}, of {100 * lowest[1]:.0f} % of them. Raise '
            '--max-error, or hold more images out.'
        )
    return best


def save_threshold(
    checkpoint: str | Path, sha256: str, how: str, found: Threshold
) -> Path:
    """Save a threshold beside a checkpoint; those for other references stay.

    Args:
        checkpoint (str | Path): The checkpoint. Thresholds of another
            checkpoint of the same name are dropped.
    """
    return save_fit(checkpoint, sha256, KIND, how, asdict(found))


def read_threshold(checkpoint: str | Path, sha256: str, how: str) -> Threshold:
    """Read the threshold that was saved for a checkpoint.

    Raises:
        ValueError: There is none, or it belongs to another checkpoint.
    """
    saved = read_fits(checkpoint, sha256, KIND)
    if how not in saved:
        raise ValueError(
            f'Expected a threshold of this checkpoint for {how} in '
            f'{fit_path(checkpoint, KIND).name}, but there is none. Find it '
            'with tools/threshold.py, and the same references.'
        )
    return Threshold(**saved[how])
