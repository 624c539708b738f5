"""Inference protocols: how frozen references are used at test."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...functional import RowMask, settled
from ...registry import (
    PROTOCOLS,
    UNCERTAINTIES,
    build_instance,
    registered_name,
)
from ...utils.pytorch import copy_to_device, not_compiled
from .candidate_search import SPACES, CandidateSearch, ChosenReferences


class Answers(NamedTuple):
    """The logits of some images for their references.

    Attributes:
        rows (torch.Tensor, optional): (b,), indices of the images in the
            batch, on the CPU. None means all of them, in order.
        logits (torch.Tensor): (k, b, num_classes).
    """

    rows: torch.Tensor | None
    logits: torch.Tensor


class Protocol:
    """Base class of inference protocols.

    A subclass implements :meth:`answer` and is registered in ``PROTOCOLS``.
    Then ``KReferenceHook(protocol=...)``, ``--protocol`` and suites accept
    its name.

    Attributes:
        num_residuals (int): Number of residuals it needs in the bank.
        features_of (slice): References whose features are averaged.
        least_references (int): The smallest useful K.
        same_number (bool): Whether all images use the same number of
            references, so that their spreads can be compared.
        can_fold (bool): Whether the answer is always the average over the
            references ``features_of``, as in a folded or exported model.
    """

    num_residuals = 0
    features_of = slice(None)
    least_references = 1
    same_number = True
    can_fold = False

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return registered_name(type(self), PROTOCOLS)

    def describe(self, num_references: int) -> str:
        """Describe the protocol in a few words for a table.

        Args:
            num_references (int): Number of references that it needs.
        """
        return f'{self.name}, K = {num_references}'

    def references_needed(self, num_references: int) -> int:
        """The number of references it needs in the bank if K are requested."""
        return num_references

    def choose(self, model, images: torch.Tensor) -> ChosenReferences | None:
        """Choose one reference for each image, or None if several are used."""

    def answer(self, model, images: torch.Tensor) -> list[Answers]:
        """Compute the logits of normalised images (B, C, H, W)."""
        raise NotImplementedError


@PROTOCOLS.register_module('mean')
class Mean(Protocol):
    """The average over K references."""

    can_fold = True

    def describe(self, num_references):
        """See :class:`Protocol`."""
        return f'K = {num_references}'

    def answer(self, model, images):
        """See :class:`Protocol`."""
        return [Answers(None, model.reference_logits(images))]


@PROTOCOLS.register_module('single')
class Single(Mean):
    """The first reference of the bank."""

    features_of = slice(1)

    def references_needed(self, num_references):
        """See :class:`Protocol`."""
        return 1

    def answer(self, model, images):
        """See :class:`Protocol`."""
        return [Answers(None, model.reference_logits(images, slice(1)))]


@PROTOCOLS.register_module('transduction')
class Transduction(Protocol):
    """Choose the best of M references for each image (BLT).

    Args:
        num_candidates (int): M; the first M references of the bank are
            candidates. Defaults to 50, as in the paper.
        num_residuals (int): N, the number of residuals between training
            images to compare with, for which the bank holds 2 N images.
            Defaults to 200.
        space (str): Where residuals are compared. ``'images'`` compares
            normalised pixels, which costs two small matrix products.
            ``'features'`` compares the neck's output for images anchored to
            the first reference, which costs a second forward pass. Defaults
            to ``'images'``.

    Raises:
        ValueError: An argument is out of range. At test: the bank has too few
            references, or no residuals.

    Source: arXiv 2406.00529, which specifies neither metric nor space. The
    code of BLT compares raw inputs.
    """

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

    def describe(self, num_references):
        """See :class:`Protocol`."""
        return f'best of {num_references}'

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


@PROTOCOLS.register_module('adaptive')
class Adaptive(Protocol):
    """Add references one by one until an image's prediction is settled.

    It starts with two and uses at most K; see
    :func:`~mmanchor.functional.settled`. Predictions have no ``pred_std``,
    since images use different numbers of references, whose spreads can't be
    compared.

    Args:
        standard_errors (float): The required lead of the predicted class, in
            standard errors of a normal distribution. Defaults to 3: all K
            references would predict a given other class with a probability of
            at most 0.135 %.

    Raises:
        ValueError: ``standard_errors`` is negative.
    """

    least_references = 3
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

    def describe(self, num_references):
        """See :class:`Protocol`."""
        return f'K ≤ {num_references}'

    @not_compiled  # each number of remaining images would be compiled anew
    def answer(self, model, images):
        """See :class:`Protocol`. Each number of references gives a group."""
        with model.kept_maps.comparing_once():
            return self._answer(model, images)

    def _answer(self, model, images):
        num_references = len(model.reference_bank.in_use)
        of_all = work = model.image_work()
        batch = len(images)
        logits = model.reference_logits(images, slice(2), work)
        open_rows = torch.arange(batch)
        on_device = torch.arange(batch, device=images.device)
        groups = []
        for seen in range(2, num_references):
            # the only time that a round waits for the device
            done = RowMask(
                settled(
                    logits, num_references, self.standard_errors, model.average
                ).tolist()
            )
            if done.all:
                return [*groups, Answers(open_rows, logits)]
            if done.any:
                rows, rest = done.indices(images.device)
                groups.append(
                    Answers(
                        open_rows[done.indices('cpu')[0]],
                        logits.index_select(1, rows),
                    )
                )
                open_rows = open_rows[done.indices('cpu')[1]]
                logits = logits.index_select(1, rest)
                images = images.index_select(0, rest)
                on_device = on_device.index_select(0, rest)
                # Index in the whole batch: its size tells tensors with a row
                # for each image from other tensors.
                work = of_all.of_rows(on_device, batch)
            more = model.reference_logits(images, slice(seen, seen + 1), work)
            logits = torch.cat([logits, more])
        return [*groups, Answers(open_rows, logits)]


def build_protocol(config: str | dict | Protocol) -> Protocol:
    """Build a protocol from its name, or from its name and arguments.

    Args:
        config (str | dict | Protocol): ``'single'``, ``'mean'``,
            ``'transduction'``, ``'adaptive'`` or another name in
            ``PROTOCOLS``; or a dict with one of them as ``type`` and the
            arguments.

    Raises:
        TypeError: The protocol does not take an argument, or the name belongs
            to something that is not a ``Protocol``.
        ValueError: There is no such protocol, or an argument is out of range.

    Example:
        >>> build_protocol(dict(type='adaptive', standard_errors=2)).name
        'adaptive'
    """
    return build_instance(Protocol, config, PROTOCOLS)


def check_measures(
    protocol: Protocol, uncertainty: Sequence[str], average: str = 'logits'
) -> None:
    """Raise if uncertainties can't be compared between images.

    Raises:
        ValueError: A measure uses the spread over references, and the
            protocol uses different numbers of references for images.

    Example:
        >>> check_measures(build_protocol('adaptive'), ['energy'])
    """
    if protocol.same_number:
        return
    wrong = [
        f'`{name}`' for name in uncertainty if UNCERTAINTIES.is_of_spread(name)
    ]
    if average == 'calibrated':
        wrong.append("`average='calibrated'`")
    if wrong:
        raise ValueError(
            'Expected no measure of the spread over references with the '
            f'protocol {protocol.name!r}, which uses different '
            'numbers of references for images, but got '
            f'{", ".join(wrong)}. Set '
            "`protocol='mean'`, leave the measure out, or register your own "
            'with `of_spread=False` where the number does not matter.'
        )


def in_order(
    answers: Sequence[Answers], images: torch.Tensor, protocol: Protocol
) -> Sequence[Answers]:
    """Check that a protocol answered each image once.

    Returns:
        Sequence[Answers]: The same. If there is one group, its rows are sorted
        by image.

    Raises:
        ValueError: It did not, or logits do not have the shape
            (k, b, num_classes).
    """
    places, fits = [], True
    for rows, logits in answers:
        of_group = range(len(images)) if rows is None else rows.tolist()
        places += of_group
        fits &= logits.dim() == 3 and logits.size(1) == len(of_group)
    if not fits or sorted(places) != list(range(len(images))):
        raise ValueError(
            f'Expected the protocol {protocol.name!r} to answer each of '
            f'{len(images)} images once, with logits of shape '
            f'(k, b, num_classes), but got images {places} and shapes '
            f'{[tuple(logits.shape) for _, logits in answers]}. Return '
            '`[Answers(None, logits)]`, or groups whose `rows` are all images.'
        )
    if not answers:  # no images at all
        return answers
    rows, logits = answers[0]
    if len(answers) > 1 or rows is None:
        return answers
    if places == sorted(places):  # nothing to move on the device
        return [Answers(None, logits)]
    order = copy_to_device(rows.cpu().argsort(), logits.device)
    return [Answers(None, logits.index_select(1, order))]


def _check_positive(name: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f'Expected `{name}` to be a positive integer, but got {value!r}.'
        )
