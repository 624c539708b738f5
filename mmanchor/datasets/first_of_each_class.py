"""A small training set that is the same on every machine."""

from collections.abc import Sequence

from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from ..utils.names import did_you_mean


@DATASETS.register_module()
class FirstOfEachClass(CustomDataset):
    """The first images of each class folder, in the order of their names.

    A network trains on these few images in minutes. They are not drawn at
    random, so that everyone who has the folders trains on the same images.

    Args:
        data_root (str): The folder that contains the class folders.
        images_per_class (int): Number of images of each class.
        folders (Sequence[str], optional): Names of the class folders to use,
            in the order of their labels. Defaults to None: all, in the order
            of their names.
        **kwargs: Arguments of MMPretrain's ``CustomDataset``, such as
            ``pipeline``.

    Raises:
        ValueError: ``images_per_class`` is not a positive integer, a class
            has fewer images, or there is no such class folder.
    """

    def __init__(
        self,
        data_root: str,
        images_per_class: int,
        folders: Sequence[str] | None = None,
        **kwargs,
    ):
        if (
            not isinstance(images_per_class, int)
            or isinstance(images_per_class, bool)
            or images_per_class < 1
        ):
            raise ValueError(
                'Expected `images_per_class` to be a positive '
                f'integer, but got {images_per_class!r}. Change '
                '`images_per_class`.'
            )
        self.images_per_class = images_per_class
        self.folders = folders
        super().__init__(data_root=data_root, with_label=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load the path and the label of each chosen image."""
        by_label: dict[int, list[dict]] = {}
        samples = super().load_data_list()
        labels = self._labels()
        for sample in samples:
            label = labels.get(int(sample['gt_label']))
            if label is not None:
                sample['gt_label'] = label
                by_label.setdefault(label, []).append(sample)
        chosen = []
        for label, samples in sorted(by_label.items()):
            if len(samples) < self.images_per_class:
                raise ValueError(
                    f'Expected {self.images_per_class} images of each class '
                    f'in {self.data_root}, but class {label} has '
                    f'{len(samples)}. Lower `images_per_class`, or add '
                    'images.'
                )
            samples.sort(key=lambda sample: sample['img_path'])
            chosen += samples[: self.images_per_class]
        return chosen

    def _labels(self) -> dict[int, int]:
        """Map the labels of all class folders to those of the chosen ones."""
        if self.folders is None:
            return {label: label for label in self.folder_to_idx.values()}
        for name in self.folders:
            if name not in self.folder_to_idx:
                known = ', '.join(self.folder_to_idx)
                raise ValueError(
                    f'Expected class folders of {self.data_root}, {known}, in '
                    f'`folders`, but got {name!r}. '
                    + did_you_mean(name, self.folder_to_idx, 'Change it.')
                )
        self._metainfo['classes'] = tuple(self.folders)
        return {
            self.folder_to_idx[name]: label
            for label, name in enumerate(self.folders)
        }
