"""Searches the best reference of each image, for transduction."""

from typing import NamedTuple

import torch

from ...functional import anchor, best_candidates, check_same_size, pair_norms
from ...functional.place import tensors_of
from .cache import TensorCache
from .reference_passes import normalised, settings_of

SPACES = ('images', 'features')
_BLOCK = 32  # images at a time


class ChosenReferences(NamedTuple):
    """The reference chosen for each image.

    Attributes:
        index (torch.Tensor): (B,), indices of references in use.
        references (torch.Tensor): (B, C, H, W), normalised.
    """

    index: torch.Tensor
    references: torch.Tensor


class CandidateSearch:
    """Finds the best candidate for each image.

    Args:
        num_candidates (int): M.
        num_residuals (int): N.
        space (str): ``'images'`` or ``'features'``.
    """

    def __init__(self, num_candidates: int, num_residuals: int, space: str):
        self.num_candidates = num_candidates
        self.num_residuals = num_residuals
        self.space = space
        self._kept = TensorCache()

    @torch.no_grad()
    def __call__(self, model, images: torch.Tensor) -> ChosenReferences:
        """Return the best candidate of each image.

        Shape:
            - images: (B, C, H, W)

        Raises:
            ValueError: There are too few candidates or residuals, or their
                size differs from the images'.
        """
        bank = model.reference_bank
        made_from = settings_of(model)
        if self.space == 'features':
            made_from.append(_fingerprint(model))
        references, *known = self._kept.get(
            # an empty tensor, for the images' type and device
            [*made_from, images.new_empty(0)],
            lambda: self._make(model, images),
            versioned=[bank.in_use, bank.residual_pairs],
        )
        check_same_size(images, references)
        with torch.autocast(images.device.type, enabled=False):
            points = self._points(model, images, references[:1])
            best = best_candidates(points, *known)
            return ChosenReferences(best, references[best])

    def _make(self, model, images):
        """The references, and candidates, residuals, norms to search with."""
        bank = model.reference_bank
        if len(bank.in_use) < self.num_candidates:
            raise ValueError(
                f'Expected {self.num_candidates} candidates in the reference '
                f'bank, but it has {len(bank.in_use)} in use. Lower '
                '`num_candidates`, or let `KReferenceHook` draw more.'
            )
        if len(bank.residual_pairs) == 0:
            raise ValueError(
                'Expected residuals seen in training for transduction, but '
                'the checkpoint has none. Test with `KReferenceHook('
                "protocol='transduction')` and the training set at hand, "
                'which draws them, or use another protocol.'
            )
        if len(bank.residual_pairs) < self.num_residuals:
            raise ValueError(
                f'Expected {self.num_residuals} residuals in the reference '
                f'bank, but it has {len(bank.residual_pairs)}. Lower '
                '`num_residuals`, or let `KReferenceHook` draw more.'
            )

        references = normalised(
            model, bank.in_use[: self.num_candidates], images
        )
        first = references[:1]
        with torch.autocast(images.device.type, enabled=False):
            candidates = torch.cat(
                [
                    self._points(model, block, first)
                    for block in references.split(_BLOCK)
                ]
            )
            residuals = torch.cat(
                [
                    self._points(
                        model, normalised(model, pairs[:, 0], images), first
                    )
                    - self._points(
                        model, normalised(model, pairs[:, 1], images), first
                    )
                    for pairs in bank.residual_pairs[
                        : self.num_residuals
                    ].split(_BLOCK)
                ]
            )
        return (
            references,
            candidates,
            residuals,
            pair_norms(candidates, residuals),
        )

    def _points(self, model, images, reference) -> torch.Tensor:
        """Map images to points of the space that is searched, (B, D)."""
        if self.space == 'images':
            return images.flatten(1).float()
        anchored = anchor(images, reference.expand_as(images))
        feats = model.features_of_rows(anchored)
        return torch.cat([x.flatten(1).float() for x in tensors_of(feats)], 1)


def _fingerprint(model) -> torch.Tensor:
    """Sums and norms of all weights and statistics, to notice a change."""
    return torch.stack(
        [
            value
            for tensor in (*model.parameters(), *model.buffers())
            if tensor.is_floating_point()
            for value in (tensor.double().sum(), tensor.double().norm())
        ]
    )
