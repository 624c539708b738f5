"""Real images that need no download."""

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

TEST_SIZE = 500


@DATASETS.register_module()
class Digits(BaseDataset):
    """scikit-learn's handwritten digits: 1,797 images of 10 classes.

    Images are 8x8, grey, here as (8, 8, 3) uint8 so that configs for colour
    images fit. The split is fixed and stratified: 1,297 to train, 500 to test.

    Args:
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``.

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
            )
        self.split = split
        super().__init__(ann_file='', test_mode=split == 'test', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Images as arrays and their labels, in the split's order."""
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise ImportError(
                'The digits come with scikit-learn, which is not installed. '
                'Install it with `pip install "mmanchor[demo]"`.'
            ) from error
        digits = load_digits()
        train, test = train_test_split(
            np.arange(len(digits.target)),
            test_size=TEST_SIZE,
            stratify=digits.target,
            random_state=0,
        )
        grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return [
            dict(
                img=np.repeat(grey[i][..., None], 3, axis=-1),
                gt_label=int(digits.target[i]),
            )
            for i in (train if self.split == 'train' else test)
        ]
