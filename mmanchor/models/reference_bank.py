"""The reference bank: references that are frozen for test."""

import torch
from torch import nn


class ReferenceBank(nn.Module):
    """Holds K images as bytes, which are saved with the weights.

    Loading a checkpoint replaces the bank, whatever its size; a checkpoint
    without a bank leaves it unchanged. The images are part of the state dict
    without being buffers, since hooks that average buffers would alter them.

    Args:
        anchor_at (str): The ``anchor_at`` of its model, which is saved unless
            it is ``'image'``. Defaults to ``'image'``.

    Attributes:
        images (torch.Tensor): (K, C, H, W), as the test pipeline packs them,
            usually as uint8. K is 0 in an empty bank.
        residual_pairs (torch.Tensor): (N, 2, C, H, W), packed alike: images
            ``x`` and ``r`` whose residuals ``x - r`` represent those seen in
            training. Only transduction needs them; N is 0 otherwise.

    Example:
        >>> bank = ReferenceBank()
        >>> bank.fill(torch.zeros(10, 3, 32, 32, dtype=torch.uint8))
        >>> bank.use(4)
        >>> len(bank), bank.in_use.shape
        (10, torch.Size([4, 3, 32, 32]))
    """

    def __init__(self, anchor_at: str = 'image'):
        super().__init__()
        self.anchor_at = anchor_at
        self.images = torch.empty(0, 0, 0, 0, dtype=torch.uint8)
        self.residual_pairs = torch.empty(0, 2, 0, 0, 0, dtype=torch.uint8)
        self._num_references: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    def fill(self, images: torch.Tensor) -> None:
        """Replace the references.

        Args:
            images (torch.Tensor): At least one, not normalised.

        Shape:
            - images: (K, C, H, W)

        Raises:
            ValueError: There is no image.
        """
        if images.dim() != 4 or len(images) == 0:
            raise ValueError(
                'Expected references of shape (K, C, H, W) with '
                f'K >= 1, but got {tuple(images.shape)}.'
            )
        # copied, since saving a view saves the whole tensor behind it
        self.images = images.to(self.images.device, copy=True)
        self._num_references = None

    def fill_residuals(self, pairs: torch.Tensor) -> None:
        """Replace the residuals, given as pairs of images; N may be 0.

        Args:
            pairs (torch.Tensor): ``x`` and ``r``, not normalised.

        Shape:
            - pairs: (N, 2, C, H, W)

        Raises:
            ValueError: It has another shape.
        """
        if pairs.dim() != 5 or pairs.size(1) != 2:
            raise ValueError(
                'Expected pairs of images of shape (N, 2, C, H, '
                f'W), but got {tuple(pairs.shape)}.'
            )
        self.residual_pairs = pairs.to(self.images.device, copy=True)

    def use(self, num_references: int | None) -> None:
        """Use the first K references, or all of them with None.

        Raises:
            ValueError: The bank has fewer.
        """
        if num_references is not None and not (
            1 <= num_references <= len(self)
        ):
            raise ValueError(
                f'Expected `num_references` to be in [1, {len(self)}], as '
                f'many as the reference bank has, but got {num_references}. '
                'Lower it, or let `KReferenceHook` draw more.'
            )
        self._num_references = num_references

    @property
    def in_use(self) -> torch.Tensor:
        """The references to anchor against, (K, C, H, W).

        Raises:
            ValueError: The bank is empty.
        """
        if len(self) == 0:
            raise ValueError(
                'The checkpoint has no reference bank. Add `KReferenceHook` '
                'to `custom_hooks`, load a checkpoint that was trained with '
                'it, or fill it with `model.reference_bank.fill(images)`.'
            )
        return self.images[: self._num_references]

    def extra_repr(self) -> str:
        """Describe the bank in ``print(model)``."""
        return (
            f'images={tuple(self.images.shape)}, '
            f'num_references={self._num_references or len(self)}, '
            f'residuals={len(self.residual_pairs)}'
        )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.images = fn(self.images)
        # channels-last needs four dimensions
        pairs = self.residual_pairs
        images = fn(pairs.flatten(0, 1))
        self.residual_pairs = images.unflatten(0, pairs.shape[:2])
        return self

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        destination[prefix + 'images'] = self.images
        if len(self.residual_pairs):
            destination[prefix + 'residual_pairs'] = self.residual_pairs

        if self.anchor_at != 'image':
            destination[prefix + 'anchor_at'] = torch.tensor(
                list(self.anchor_at.encode()), dtype=torch.uint8
            )

    @staticmethod
    def place_in(state_dict: dict, prefix: str = '') -> str | None:
        """Read from a state dict where its model anchors; None if nowhere.

        Args:
            state_dict (Dict[str, torch.Tensor]): A model's.
            prefix (str): Prefix of the bank's keys. Defaults to ``''``.
        """
        name = state_dict.get(prefix + 'anchor_at')
        if name is not None:
            return bytes(name.tolist()).decode()
        return 'image' if prefix + 'images' in state_dict else None

    def _load_from_state_dict(self, state_dict, prefix, *_):
        saved = state_dict.get(prefix + 'images')
        if saved is not None:
            self.images = saved.to(self.images.device, copy=True)
            self._num_references = None
            # the old residuals belong to the old references
            self.residual_pairs = self.residual_pairs.new_empty(0, 2, 0, 0, 0)
        saved = state_dict.get(prefix + 'residual_pairs')
        if saved is not None:
            self.residual_pairs = saved.to(self.images.device, copy=True)
