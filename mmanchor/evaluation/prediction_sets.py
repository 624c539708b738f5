"""Sets of classes that hold the label as often as is asked for."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..functional import conformal_scores, conformal_threshold
from .metrics.predicted_batch import check_labels, check_predictions
from .saved_fits import fit_path, read_fits, save_fit

# method: the penalty of each rank beyond the free ones
METHODS = dict(aps=0.0, raps=0.1)
FREE_CLASSES = 2
KIND = 'sets'  # in the name of the file


@dataclass(frozen=True)
class PredictionSets:
    """Prediction sets: the classes that an image may have.

    Args:
        method (str): ``'aps'`` or ``'raps'``; see
            :func:`~mmanchor.functional.conformal_scores`.
        coverage (float): How often a set has to contain the label, in (0, 1).
        threshold (float): Classes of at most this score are in the set.
        penalty (float): See :func:`~mmanchor.functional.conformal_scores`.
        free_classes (int): See
            :func:`~mmanchor.functional.conformal_scores`.
        num_images (int): The number of held-out images.

    Example:
        >>> sets = PredictionSets('aps', 0.9, 0.7, 0.0, 2, 100)
        >>> sets.of(torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.9, 0.1]]))
        tensor([[False,  True,  True],
                [False,  True, False]])
    """

    method: str
    coverage: float
    threshold: float
    penalty: float
    free_classes: int
    num_images: int

    def of(
        self, probabilities: torch.Tensor, check: bool = True
    ) -> torch.Tensor:
        """Return the set of each image, which contains one class or more.

        Args:
            probabilities (torch.Tensor): The predicted probabilities.
            check (bool): See :func:`~mmanchor.functional.conformal_scores`.
                Defaults to True.

        Shape:
            - probabilities: (N, num_classes)
            - output: (N, num_classes), bool

        Raises:
            ValueError: They are not probabilities.
        """
        scores = conformal_scores(
            probabilities, self.penalty, self.free_classes, check
        )
        return scores <= self.threshold


def fit_prediction_sets(
    probabilities: torch.Tensor,
    labels: torch.Tensor,
    coverage: float,
    method: str = 'raps',
) -> PredictionSets:
    """Fit prediction sets on held-out images.

    Args:
        probabilities (torch.Tensor): Predicted probabilities of images that
            the model was neither trained nor tested on, averaged over
            references.
        labels (torch.Tensor): True labels.
        coverage (float): How often the sets of new images like these have to
            contain the label, in (0, 1).
        method (str): ``'aps'`` or ``'raps'``. Defaults to ``'raps'``.

    Shape:
        - probabilities: (N, num_classes)
        - labels: (N,)

    Raises:
        TypeError: Probabilities or labels are of another type.
        ValueError: An argument is out of range, or there are too few images
            for the coverage.

    Example:
        >>> probabilities = torch.tensor([[0.75, 0.25]]).repeat(9, 1)
        >>> labels = torch.tensor([0] * 7 + [1] * 2)
        >>> fit_prediction_sets(probabilities, labels, 0.9, 'aps').threshold
        0.75
    """
    if method not in METHODS:
        raise ValueError(
            f'Expected `method` to be among {", ".join(METHODS)}, but got '
            f'{method!r}. Change it.'
        )
    labels = check_predictions(probabilities, labels)
    check_labels(labels, probabilities.size(1))
    scores = conformal_scores(probabilities, METHODS[method], FREE_CLASSES)
    of_labels = scores.gather(1, labels[:, None])[:, 0]
    return PredictionSets(
        method,
        coverage,
        conformal_threshold(of_labels, coverage),
        METHODS[method],
        FREE_CLASSES,
        len(labels),
    )


def save_prediction_sets(
    checkpoint: str | Path, sha256: str, how: str, sets: PredictionSets
) -> Path:
    """Save prediction sets beside a checkpoint; those of other coverages stay.

    Args:
        sets (PredictionSets): The sets, which replace those of the same
            coverage.
    """
    saved = read_fits(checkpoint, sha256, KIND).get(how, {})
    saved[f'{sets.coverage:g}'] = asdict(sets)
    return save_fit(checkpoint, sha256, KIND, how, saved)


def read_prediction_sets(
    checkpoint: str | Path, sha256: str, how: str, coverage: float
) -> PredictionSets:
    """Read the prediction sets that were saved for a checkpoint.

    Raises:
        ValueError: There are none of this coverage, or they belong to another
            checkpoint.
    """
    saved = read_fits(checkpoint, sha256, KIND).get(how, {})
    if f'{coverage:g}' not in saved:
        others = f' but of {", ".join(saved)}' if saved else ''
        raise ValueError(
            f'Expected prediction sets of a coverage of {coverage:g} of this '
            f'checkpoint for {how} in {fit_path(checkpoint, KIND).name}, but '
            f'there are none{others}. Fit them with tools/threshold.py '
            f'--coverage {coverage:g}, and the same references.'
        )
    return PredictionSets(**saved[f'{coverage:g}'])
