"""Averages and spreads of the predictions for K references."""

from collections.abc import Callable, Sequence

import torch

from ..registry import UNCERTAINTIES, find_registered

AVERAGE = ('logits', 'probabilities', 'calibrated')
SPACES = {
    'logits': lambda logits: logits,
    'sigmoid': torch.sigmoid,
    'softmax': lambda logits: logits.softmax(-1),
}


def average_references(
    logits: torch.Tensor, average: str = 'logits'
) -> torch.Tensor:
    """Average the answers over references.

    Args:
        logits (torch.Tensor): Logits for each reference.
        average (str): ``'logits'`` (the paper and the authors' code);
            ``'probabilities'``, which returns the logarithm of their mean; or
            ``'calibrated'``, which is :func:`calibrated_logits` (the authors'
            code on ImageNet). Defaults to ``'logits'``.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, num_classes); its softmax is the prediction

    Example:
        >>> average_references(torch.zeros(5, 2, 10)).shape
        torch.Size([2, 10])
    """
    if average == 'logits':
        return logits.mean(0)
    if average == 'calibrated':
        return calibrated_logits(logits)
    log_probs = logits.log_softmax(-1)
    return log_probs.logsumexp(0) - torch.tensor(len(logits)).log()


def reference_spread(
    logits: torch.Tensor, space: str = 'logits'
) -> torch.Tensor:
    """Compute the standard deviation over references.

    It is the population's (divided by K), so one reference has no spread.

    Args:
        logits (torch.Tensor): Logits for each reference.
        space (str): The values: ``'logits'``, their ``'sigmoid'`` (Delta-UQ;
            it hides the spread of confident predictions) or their
            ``'softmax'``. Defaults to ``'logits'``.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, num_classes)

    Raises:
        ValueError: ``space`` is none of these.

    Example:
        >>> reference_spread(torch.ones(3, 1, 2)).tolist()
        [[0.0, 0.0]]

    Source: Thiagarajan et al., Delta-UQ (NeurIPS 2022).
    """
    if space not in SPACES:
        raise ValueError(
            "Expected `space` to be 'logits', 'sigmoid' or "
            f"'softmax', but got {space!r}."
        )
    spread = SPACES[space](logits)
    if not spread.numel():  # no images: torch would warn
        return spread.new_zeros(spread.shape[1:])
    return spread.std(0, correction=0)


@UNCERTAINTIES.register_module('sigmoid_std')
def _sigmoid_std(logits: torch.Tensor) -> torch.Tensor:
    return reference_spread(logits, 'sigmoid')


@UNCERTAINTIES.register_module('softmax_std')
def _softmax_std(logits: torch.Tensor) -> torch.Tensor:
    return reference_spread(logits, 'softmax')


@UNCERTAINTIES.register_module(of_spread=False)
def predictive_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of the mean of the predicted distributions, in nats.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B,), in [0, log(num_classes)]

    Example:
        >>> round(predictive_entropy(torch.zeros(3, 1, 4)).item(), 4)
        1.3863
    """
    return _entropy(average_references(logits, 'probabilities'))


@UNCERTAINTIES.register_module()
def mutual_information(logits: torch.Tensor) -> torch.Tensor:
    """Compute how much references disagree, in nats.

    It is the entropy of the mean of the predicted distributions minus the
    mean of their entropies, which is zero if all references agree.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B,), in [0, log(K)]

    Example:
        >>> certain = torch.tensor([[[99.0, 0.0]], [[0.0, 99.0]]])
        >>> round(mutual_information(certain).item(), 4)
        0.6931
    """
    mean_entropy = _entropy(logits.log_softmax(-1)).mean(0)
    return (predictive_entropy(logits) - mean_entropy).clamp_min(0)


@UNCERTAINTIES.register_module()
def calibrated_logits(logits: torch.Tensor) -> torch.Tensor:
    """Compute mean logits that are smaller where references disagree.

    They are divided by 1 + exp(s), where s is the mean over classes of the
    spread of the sigmoids. The logits of a single reference, which has no
    spread, are divided by 2.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, num_classes)

    Example:
        >>> calibrated_logits(torch.full((1, 1, 2), 4.0)).tolist()
        [[2.0, 2.0]]

    Source: Delta-UQ, and the authors' code for arXiv 2406.00529 on ImageNet
    with K = 5.
    """
    spread = reference_spread(logits, 'sigmoid').mean(-1, keepdim=True)
    return logits.mean(0) / (1 + spread.exp())


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Energy score; larger is more anomalous.

    Shape:
        - logits: (B, num_classes), averaged over references
        - output: (B,)

    Example:
        >>> energy(torch.zeros(1, 1)).item()
        -0.0

    Source: Liu et al., Energy-based Out-of-distribution Detection (NeurIPS
    2020).
    """
    return -logits.logsumexp(-1)


def max_logit(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit, negated; larger is more anomalous.

    Shape:
        - logits: (B, num_classes), averaged over references
        - output: (B,)

    Example:
        >>> max_logit(torch.tensor([[1.0, 3.0]])).item()
        -3.0

    Source: Hendrycks et al., Scaling Out-of-Distribution Detection (ICML
    2022).
    """
    return -logits.amax(-1)


def anchor_score(logits: torch.Tensor) -> torch.Tensor:
    """AMP's score; larger is more anomalous.

    It is the mean log-probability of the classes, ``mean(logits) -
    logsumexp``: -log(num_classes) if all are equal, and less otherwise.

    Shape:
        - logits: (B, num_classes), averaged over references
        - output: (B,)

    Example:
        >>> round(anchor_score(torch.zeros(1, 4)).item(), 4)
        -1.3863

    Source: Narayanaswamy et al., AMP (ACML 2023).
    """
    return logits.mean(-1) + energy(logits)


def _of_mean_logits(
    score: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda logits: score(logits.mean(0))


for _score in (energy, max_logit, anchor_score):
    UNCERTAINTIES.register_module(
        _score.__name__, module=_of_mean_logits(_score), of_spread=False
    )


def average_space(logits: torch.Tensor, average: str) -> torch.Tensor:
    """The numbers whose mean over references decides the prediction.

    Shape:
        - logits, output: (..., num_classes)

    Example:
        >>> average_space(torch.zeros(1, 2), 'probabilities').tolist()
        [[0.5, 0.5]]
    """
    return logits.softmax(-1) if average == 'probabilities' else logits


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    log_probs = logits.log_softmax(-1)
    # 0 log 0 is 0
    return -(log_probs.exp() * log_probs.clamp_min(-1e4)).sum(-1)


def check_uncertainty(names: str | Sequence[str]) -> Sequence[str]:
    """Check names of measures of uncertainty; ``'all'`` means all of them.

    Args:
        names (str | Sequence[str]): Names of functions that are registered
            in ``UNCERTAINTIES``.

    Raises:
        ValueError: There is no measure of one of these names.

    Example:
        >>> check_uncertainty(['energy'])
        ('energy',)
    """
    if names == 'all':
        return tuple(UNCERTAINTIES.module_dict)
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        find_registered(name, UNCERTAINTIES)
    return names


def measure_uncertainty(logits: torch.Tensor, name: str) -> torch.Tensor:
    """Compute a registered measure of uncertainty.

    Args:
        logits (torch.Tensor): Logits for each reference.
        name (str): The measure's name in ``UNCERTAINTIES``.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, ...)

    Raises:
        ValueError: There is no measure of that name, or it does not return a
            value for each image.

    Example:
        >>> measure_uncertainty(torch.zeros(3, 2, 4), 'max_logit').shape
        torch.Size([2])
    """
    values = find_registered(name, UNCERTAINTIES)(logits)
    if values.shape[:1] != logits.shape[1:2]:
        raise ValueError(
            f'Expected the {UNCERTAINTIES.name} {name!r} to have the shape '
            f'(B, ...) with B = {logits.size(1)} images, but got '
            f'{tuple(values.shape)}. Reduce the axis of references, the '
            'first of (K, B, num_classes), and no other.'
        )
    return values
