"""How frozen references are used at test: the inference protocols."""

import difflib
import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...functional import settled
from ...functional.uncertainty import OF_SPREAD
from .candidate_search import SPACES, CandidateSearch, ChosenReferences


class Answers(NamedTuple):
    """The logits of some images for their references.

    Attributes:
        rows (torch.Tensor, optional): (b,), which images of the batch; None:
            all of them, in order.
        logits (torch.Tensor): (k, b, num_classes).
    """

    rows: torch.Tensor | None
    logits: torch.Tensor


class Protocol:
    """What all protocols have.

    Attributes:
        name (str): What a config calls it.
        num_residuals (int): Residuals it needs in the bank.
        features_of (slice): References whose features are averaged.
        same_number (bool): Whether all images are answered with the same
            number of references, so that their spreads can be compared.
    """

    name: str
    same_number = True
    num_residuals = 0
    features_of = slice(None)

    def references_needed(self, num_references: int) -> int:
        """References it needs in the bank, where K are asked for."""
        return num_references

    def choose(self, model, images: torch.Tensor) -> ChosenReferences | None:
        """The one reference of each image, if it has one."""

    def answer(self, model, images: torch.Tensor) -> list[Answers]:
        """The logits of normalised images (B, C, H, W)."""
        raise NotImplementedError


class Mean(Protocol):
    """The average over K references."""

    name = 'mean'

    def answer(self, model, images):
        """See :class:`Protocol`."""
        return [Answers(None, model.reference_logits(images))]


class Single(Protocol):
    """The first reference of the bank."""

    name = 'single'
    features_of = slice(1)

    def references_needed(self, num_references):
        """See :class:`Protocol`."""
        return 1

    def answer(self, model, images):
        """See :class:`Protocol`."""
        return [Answers(None, model.reference_logits(images, slice(1)))]


class Transduction(Protocol):
    """The best of M references for each image (BLT), then one pass.

    Args:
        num_candidates (int): M, the first of the bank's references. Defaults
            to 50, the paper's.
        num_residuals (int): N, how many residuals between training images to
            compare with; the bank keeps 2 N images for them. Defaults to 200.
        space (str): ``'images'``: normalised pixels, at the cost of two small
            matrix products; ``'features'``: what the neck gives for images
            anchored to the first reference, at the cost of a second pass.
            Defaults to ``'images'``.

    Raises:
        ValueError: An argument is out of range; at test, the bank has too few
            references, or no residuals.

    Source: arXiv 2406.00529, which names neither metric nor space; BLT's own
    code compares raw inputs.
    """

    name = 'transduction'

    def __init__(
        self,
        num_candidates: int = 50,
        num_residuals: int = 200,
        space: str = 'images',
    ):
        _check_positive('num_candidates', num_candidates)
        _check_positive('num_residuals', num_residuals)
        if space not in SPACES:
            raise ValueError(
                "Expected `space` to be 'images' or 'features', "
                f'but got {space!r}.'
            )
        self.num_candidates = num_candidates
        self.num_residuals = num_residuals
        self.space = space
        self._search = CandidateSearch(num_candidates, num_residuals, space)

    def references_needed(self, num_references):
        """See :class:`Protocol`."""
        return self.num_candidates

    def choose(self, model, images):
        """See :class:`Protocol`."""
        return self._search(model, images)

    def answer(self, model, images):
        """See :class:`Protocol`."""
        chosen = self.choose(model, images)
        return [Answers(None, model.chosen_logits(images, chosen))]


class Adaptive(Protocol):
    """References one by one until an image's prediction is settled.

    Two for a start, at most K; see :func:`~mmanchor.functional.settled`.
    Predictions have no ``pred_std``: spreads of unlike numbers of references
    can't be compared.

    Args:
        standard_errors (float): How safe the class ahead has to be, as
            standard errors of a normal distribution. Defaults to 3: another
            class ends up ahead with a probability of at most 0.135 %.

    Raises:
        ValueError: ``standard_errors`` is negative.
    """

    name = 'adaptive'
    same_number = False

    def __init__(self, standard_errors: float = 3.0):
        if (
            isinstance(standard_errors, bool)
            or not isinstance(standard_errors, (int, float))
            or not standard_errors >= 0
        ):
            raise ValueError(
                'Expected `standard_errors` to be a number of at '
                f'least 0, but got {standard_errors!r}.'
            )
        self.standard_errors = standard_errors

    def answer(self, model, images):
        """See :class:`Protocol`; one group for each number of references."""
        num_references = len(model.reference_bank.in_use)
        work = model.image_work()
        logits = model.reference_logits(images, slice(2), work)
        open_rows = torch.arange(len(images), device=images.device)
        groups = []
        for seen in range(2, num_references):
            done = settled(
                logits, num_references, self.standard_errors, model.average
            )
            if done.any():
                groups.append(Answers(open_rows[done], logits[:, done]))
            open_rows, logits = open_rows[~done], logits[:, ~done]
            if not len(open_rows):
                return groups
            more = model.reference_logits(
                images[open_rows],
                slice(seen, seen + 1),
                work.of_rows(open_rows, len(images)),
            )
            logits = torch.cat([logits, more])
        return [*groups, Answers(open_rows, logits)]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (Mean, Single, Transduction, Adaptive)
}


def build_protocol(config: str | dict | Protocol) -> Protocol:
    """A protocol by name, or by name and arguments.

    Args:
        config (str | dict | Protocol): ``'single'``, ``'mean'``,
            ``'transduction'``, ``'adaptive'``, or a dict with one of them as
            ``type`` and the arguments.

    Raises:
        TypeError: It has no such argument.
        ValueError: There is no such protocol, or an argument is out of range.

    Example:
        >>> build_protocol(dict(type='adaptive', standard_errors=2)).name
        'adaptive'
    """
    if isinstance(config, Protocol):
        return config
    arguments = {'type': config} if isinstance(config, str) else dict(config)
    name = arguments.pop('type', None)
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(str(name), PROTOCOLS, n=1)
        raise ValueError(
            f'Expected `protocol` to be {", ".join(map(repr, PROTOCOLS))}, or '
            f'a dict with one as `type`, but got {name!r}.'
            f'{f" Did you mean {near[0]!r}?" if near else ""}'
        )
    known = list(inspect.signature(PROTOCOLS[name]).parameters)
    for argument in sorted(set(arguments) - set(known)):
        raise TypeError(
            f'Expected arguments of the protocol {name!r} to be among '
            f'{", ".join(known) or "none"}, but got {argument}. Drop it.'
        )
    return PROTOCOLS[name](**arguments)


def check_measures(
    protocol: Protocol, uncertainty: Sequence[str], average: str = 'logits'
) -> None:
    """Refuse measures that can't be compared between a protocol's images.

    Args:
        protocol (Protocol): How references are used.
        uncertainty (Sequence[str]): Measures by name.
        average (str): As for ``AnchoredImageClassifier``.

    Raises:
        ValueError: One is made of the spread over references, and the
            protocol is adaptive.

    Example:
        >>> check_measures(build_protocol('adaptive'), ['energy'])
    """
    if protocol.same_number:
        return
    wrong = [f'`{name}`' for name in uncertainty if name in OF_SPREAD]
    if average == 'calibrated':
        wrong.append("`average='calibrated'`")
    if wrong:
        raise ValueError(
            'Expected no measure of the spread over references with the '
            f'protocol {protocol.name!r}, which answers images with unlike '
            f'numbers of references, but got {", ".join(wrong)}. Set '
            "`protocol='mean'`, or leave the measure out."
        )


def _check_positive(name: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f'Expected `{name}` to be a positive integer, but got {value!r}.'
        )
