"""Images that come with scikit-learn and need no download."""

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

TEST_SIZE = 500


@DATASETS.register_module()
class Digits(BaseDataset):
    """scikit-learn's handwritten digits: 1,797 images of 10 classes.

    The images are grey, but have the shape (8, 8, 3) in uint8, so that they
    fit configs for colour images. The split is fixed and stratified, with
    1,297 images for training and 500 for testing.

    Args:
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``.

    Raises:
        ValueError: ``split`` is another word.
        ImportError: scikit-learn is not installed.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
    Digits, UCI, 1998 (its test part).
    """

    METAINFO = {'classes': tuple(str(digit) for digit in range(10))}

    def __init__(self, split: str = 'train', **kwargs):
        if split not in ('train', 'test'):
            raise ValueError(
                f"Expected `split` to be 'train' or 'test', but got {split!r}."
                ' Change `split`.'
            )
        self.split = split
        super().__init__(ann_file='', test_mode=split == 'test', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load the images of the split and their labels."""
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise ImportError(
                'Expected scikit-learn, which has the digits, but it is not '
                'installed. Install it with `pip install "mmanchor[demo]"`.'
            ) from error
        digits = load_digits()
        train, test = train_test_split(
            np.arange(len(digits.target)),
            test_size=TEST_SIZE,
            stratify=digits.target,
            random_state=0,
        )
        grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        labels = digits.target
        return [
            dict(
                img=np.repeat(grey[i][..., None], 3, axis=-1),
                gt_label=int(labels[i]),
            )
            for i in (train if self.split == 'train' else test)
        ]


@DATASETS.register_module()
class PhotoPatches(BaseDataset):
    """Square patches of scikit-learn's two photographs, labelled −1.

    They serve as images out of distribution for models of digits. The
    photographs show a temple and a flower, in 427×640 pixels. The patches are
    grey and have the shape (size, size, 3) in uint8.

    Args:
        size (int): Height and width of a patch, in pixels. Defaults to 16.
        count (int): Number of patches. Defaults to 500.
        seed (int): Seed of the positions of patches. Defaults to 0.
        **kwargs: Arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``.

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
                    f'but got {value}. Change `{name}`.'
                )
        self.size, self.count, self.seed = size, count, seed
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Cut the patches, and label them −1."""
        try:
            from sklearn.datasets import load_sample_images
        except ImportError as error:
            raise ImportError(
                'Expected scikit-learn, which has the photographs, but it is '
                'not installed. Install it with '
                '`pip install "mmanchor[demo]"`.'
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
