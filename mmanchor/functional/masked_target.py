"""Masked targets: what a network has to answer to a blanked reference.

The paper's target is the uniform distribution, "don't know".

Source: Narayanaswamy et al., NeurIPS 2024 (arXiv 2406.00529), on reference
masking.
"""

import math

import torch
import torch.nn.functional as F

from ..registry import MASKED_TARGETS, build_instance, registered_name


def uniform_cross_entropy(
    logits: torch.Tensor, sigmoid: bool = False
) -> torch.Tensor:
    """Cross-entropy of each row to the uniform distribution over classes.

    Args:
        logits (torch.Tensor): Logits.
        sigmoid (bool): Treat every class as a binary problem and sum the
            binary cross-entropies to ``1 / num_classes``, for heads trained
            with binary cross-entropy. Defaults to False, which uses softmax
            as the paper does.

    Shape:
        - logits: (B, num_classes)
        - output: (B,), in nats; with softmax at least log(num_classes)

    Raises:
        ValueError: There is only one class.

    Example:
        >>> torch.allclose(
        ...     uniform_cross_entropy(torch.zeros(1, 4)),
        ...     torch.tensor(4.0).log(),
        ... )
        True
    """
    _check_several_classes(logits)
    if sigmoid:
        target = torch.full_like(logits, 1 / logits.size(1))
        return F.binary_cross_entropy_with_logits(
            logits, target, reduction='none'
        ).sum(1)
    return -F.log_softmax(logits, dim=1).mean(1)


class MaskedTarget:
    """The target of rows with a blanked reference.

    Subclasses return a distribution over the classes for each row, or another
    loss, and are registered in ``MASKED_TARGETS``. Then a head's
    ``masked_target`` and the ``target`` of a
    :class:`~mmanchor.models.ReferenceMaskingLoss` may name them.

    Attributes:
        keeps_labels (bool): Whether masked rows go through the host's loss
            with their labels, as other rows do. Then neither method is
            called.

    Example:
        >>> class Certain(MaskedTarget):
        ...     def distribution(self, logits, labels):
        ...         return F.one_hot(labels, logits.size(1)).to(logits)
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> loss = Certain().loss(logits, torch.tensor([0]))
        >>> torch.allclose(loss, F.cross_entropy(logits, torch.tensor([0])))
        True
    """

    keeps_labels = False

    def distribution(
        self, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the distribution that each masked row should predict.

        Args:
            logits (torch.Tensor): Logits of masked rows.
            labels (torch.Tensor): Their labels, which may be soft.

        Shape:
            - logits: (B, num_classes)
            - labels: (B,) or (B, num_classes)
            - output: (B, num_classes)
        """
        raise NotImplementedError

    def loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        sigmoid: bool = False,
    ) -> torch.Tensor:
        """Return each masked row's loss: cross-entropy to the distribution.

        Args:
            logits (torch.Tensor): Logits of masked rows.
            labels (torch.Tensor): Their labels, which may be soft.
            sigmoid (bool): Whether to treat every class as a binary problem,
                as the host's loss does. Defaults to False.

        Shape:
            - logits: (B, num_classes)
            - labels: (B,) or (B, num_classes)
            - output: (B,)

        Raises:
            ValueError: There is only one class, or the distribution has
                another shape than the logits.
        """
        _check_several_classes(logits)
        wanted = self.distribution(logits, labels)
        if wanted.shape != logits.shape:
            raise ValueError(
                'Expected the distribution of the masked target '
                f'{registered_name(type(self), MASKED_TARGETS)!r} to have '
                f"the logits' shape (B, num_classes) = {tuple(logits.shape)}, "
                f'but got {tuple(wanted.shape)}. Return one row for each row '
                'of the logits.'
            )
        if sigmoid:
            rows = F.binary_cross_entropy_with_logits(
                logits, wanted, reduction='none'
            )
        else:
            rows = -wanted * logits.log_softmax(1)
        return rows.sum(1)


@MASKED_TARGETS.register_module('uniform')
class UniformTarget(MaskedTarget):
    """Gives every class ``1 / num_classes``: "don't know" (the paper)."""

    def loss(self, logits, labels, sigmoid=False):
        """See :class:`MaskedTarget`."""
        return uniform_cross_entropy(logits, sigmoid)


@MASKED_TARGETS.register_module('label')
class LabelTarget(MaskedTarget):
    """Leaves masked rows their label (the authors' released code)."""

    keeps_labels = True


def build_masked_target(config: str | dict | MaskedTarget) -> MaskedTarget:
    """Build a masked target from its name, or from name and arguments.

    Args:
        config (str | dict | MaskedTarget): ``'uniform'``, ``'label'`` or
            another name in ``MASKED_TARGETS``; or a dict with one of them as
            ``type`` and the arguments.

    Raises:
        TypeError: The target does not take an argument, or the name belongs
            to something that is not a ``MaskedTarget``.
        ValueError: There is no such masked target.

    Example:
        >>> build_masked_target('label').keeps_labels
        True
    """
    return build_instance(MaskedTarget, config, MASKED_TARGETS)


def normalized_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of the prediction, divided by that of the uniform distribution.

    1 means "don't know" and 0 means certain.

    Args:
        logits (torch.Tensor): Logits.

    Shape:
        - logits: (B, num_classes), at least two classes
        - output: (B,), in [0, 1]

    Raises:
        ValueError: There is only one class.

    Example:
        >>> normalized_entropy(
        ...     torch.tensor([[0.0, 0.0], [999.0, 0.0]])
        ... ).tolist()
        [1.0, 0.0]
    """
    _check_several_classes(logits)
    entropy = torch.special.entr(logits.softmax(dim=1)).sum(1)
    return (entropy / math.log(logits.size(1))).clamp(0, 1)


def mean_normalized_entropy(logits: torch.Tensor) -> torch.Tensor:
    """The mean of :func:`normalized_entropy` over rows, for a log.

    It takes fewer operations, and may exceed 1 by a rounding error.

    Shape:
        - logits: (B, num_classes), at least two classes
        - output: scalar

    Raises:
        ValueError: There is only one class.

    Example:
        >>> mean_normalized_entropy(
        ...     torch.tensor([[0.0, 0.0], [999.0, 0.0]])
        ... ).item()
        0.5
    """
    _check_several_classes(logits)
    total = torch.special.entr(logits.softmax(dim=1)).sum()
    return total * (1 / (len(logits) * math.log(logits.size(1))))


def _check_several_classes(logits: torch.Tensor) -> None:
    if logits.size(1) < 2:
        raise ValueError(
            'Expected logits of two classes or more, since only between them '
            'can an answer be "don\'t know", but got shape (B, num_classes) '
            f'= {tuple(logits.shape)}. Set `num_classes=2` in the head, for '
            'yes and no.'
        )
