"""Real images of no class, that need no download."""

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS


@DATASETS.register_module()
class PhotoPatches(BaseDataset):
    """Square patches of scikit-learn's two photographs, labelled −1.

    A temple and a flower, 427×640 pixels each, in grey, cut where a seed
    says: images out of distribution for models of digits, as (size, size, 3)
    uint8.

    Args:
        size (int): Height and width of a patch, in pixels. Defaults to 16.
        count (int): How many patches. Defaults to 500.
        seed (int): Of where they are cut. Defaults to 0.
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: ``size`` or ``count`` is out of range.

    Source: scikit-learn's ``load_sample_images``.
    """

    def __init__(
        self, size: int = 16, count: int = 500, seed: int = 0, **kwargs
    ):
        for name, value, most in (
            ('size', size, 427),
            ('count', count, 10**6),
        ):
            if not 1 <= value <= most:
                raise ValueError(
                    f'Expected `{name}` to be from 1 to {most}, '
                    f'but got {value}. Change it.'
                )
        self.size, self.count, self.seed = size, count, seed
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Patches as arrays, and −1."""
        try:
            from sklearn.datasets import load_sample_images
        except ImportError as error:
            raise ImportError(
                'The photographs come with scikit-learn, which is not '
                'installed. Install it with `pip install "mmanchor[demo]"`.'
            ) from error
        photos = [
            np.rint(photo.mean(-1)).astype(np.uint8)
            for photo in load_sample_images().images
        ]
        rng = np.random.default_rng(self.seed)
        samples = []
        for i in range(self.count):
            photo = photos[i % len(photos)]
            top, left = (
                int(rng.integers(side - self.size + 1)) for side in photo.shape
            )
            patch = photo[top : top + self.size, left : left + self.size]
            samples.append(
                dict(img=np.repeat(patch[..., None], 3, axis=-1), gt_label=-1)
            )
        return samples
