"""A corruption that needs no other package."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SeededGaussianNoise(BaseTransform):
    """Add Gaussian noise that is the same for an image in every run.

    Required keys: ``img`` (uint8), and ``sample_idx``, which MMEngine's data
    sets add. Modified key: ``img``.

    Args:
        std (float): Standard deviation, in grey levels of 0 to 255.
        seed (int): Seed of the noise. Defaults to 0.

    Raises:
        ValueError: ``std`` is negative.
    """

    def __init__(self, std: float, seed: int = 0):
        if not std >= 0:
            raise ValueError(
                f'Expected `std` to be at least 0 grey levels, but got {std}. '
                'Change `std`.'
            )
        self.std = std
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Add the noise, and clip values to [0, 255]."""
        rng = np.random.default_rng([self.seed, results['sample_idx']])
        noise = rng.normal(0, self.std, results['img'].shape)
        results['img'] = (
            np.rint(results['img'] + noise).clip(0, 255).astype(np.uint8)
        )
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(std={self.std}, seed={self.seed})'
