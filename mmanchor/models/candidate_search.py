"""The search of transduction, with what it keeps between batches."""
from typing import Iterator, Optional, Tuple

import torch
from mmpretrain.models import ImageClassifier

from ..functional import anchor, best_candidates, check_same_size, pair_norms

SPACES = ('images', 'features')


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
        self.forget()

    def forget(self) -> None:
        """Drop what was kept."""
        self._made_from: Optional[tuple] = None
        self._kept: tuple = ()

    @torch.no_grad()
    def __call__(self, model, images: torch.Tensor) -> torch.Tensor:
        """The best candidates, as the backbone is to see them.

        Args:
            model (AnchoredImageClassifier): With candidates and residuals in
                its bank.
            images (torch.Tensor): Normalised.

        Shape:
            - images, output: (B, C, H, W)

        Raises:
            ValueError: There are too few candidates, or residuals, or they
                have another size than the images.
        """
        references, *known = self._prepare(model, images)
        check_same_size(images, references)
        with torch.autocast(images.device.type, enabled=False):
            points = self._points(model, images, references[:1])
            return references[best_candidates(points, *known)]

    def _prepare(self, model, images) -> Tuple[torch.Tensor, ...]:
        bank = model.reference_bank
        # tensors of a bank are replaced as a whole, or counted as changed
        made_from = (bank.images, bank.images._version,
                     bank.residual_pairs, bank.residual_pairs._version,
                     len(bank.in_use), images.dtype, images.device)
        if self._made_from is None or any(
                a is not b if isinstance(a, torch.Tensor) else a != b
                for a, b in zip(self._made_from, made_from)):
            self._kept = self._make(model, images)
            self._made_from = made_from
        return self._kept

    def _make(self, model, images):
        """References, and in the space of the search candidates, residuals
        and their norms."""
        bank = model.reference_bank
        if len(bank.in_use) < self.num_candidates:
            raise ValueError(
                f'Expected {self.num_candidates} candidates in the reference '
                f'bank, but it has {len(bank.in_use)} in use. Lower '
                '`num_candidates`, or let `KReferenceHook` draw more.')
        if len(bank.residual_pairs) == 0:
            raise ValueError(
                'Expected residuals seen in training for transduction, but '
                'the checkpoint kept none. Test with `KReferenceHook('
                "protocol='transduction')` and the training set at hand, "
                'which draws them, or use another protocol.')
        if len(bank.residual_pairs) < self.num_residuals:
            raise ValueError(
                f'Expected {self.num_residuals} residuals in the reference '
                f'bank, but it has {len(bank.residual_pairs)}. Lower '
                '`num_residuals`, or let `KReferenceHook` draw more.')

        def normalise(batch):
            return model.data_preprocessor(
                dict(inputs=batch))['inputs'].to(images)

        references = normalise(bank.in_use[:self.num_candidates])
        first = references[:1]
        with torch.autocast(images.device.type, enabled=False):
            candidates = torch.cat([
                self._points(model, block, first)
                for block in references.split(model.rows_per_pass)
            ])
            residuals = torch.cat([
                self._points(model, normalise(pairs[:, 0]), first) -
                self._points(model, normalise(pairs[:, 1]), first)
                for pairs in bank.residual_pairs[:self.num_residuals].split(
                    model.rows_per_pass)
            ])
        return (references, candidates, residuals,
                pair_norms(candidates, residuals))

    def _points(self, model, images, reference) -> torch.Tensor:
        """Images as points of the space, (B, D)."""
        if self.space == 'images':
            return images.flatten(1).float()
        anchored = anchor(images, reference.expand_as(images))
        feats = ImageClassifier.extract_feat(model, anchored)
        return torch.cat([x.flatten(1).float() for x in _tensors(feats)], 1)

    def __deepcopy__(self, memo):
        return type(self)(self.num_candidates, self.num_residuals, self.space)

    def __reduce__(self):
        return type(self), (self.num_candidates, self.num_residuals,
                            self.space)


def _tensors(tree) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    else:
        for branch in tree:
            yield from _tensors(branch)
