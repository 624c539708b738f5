"""A small training set that is the same on every machine."""

from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS


@DATASETS.register_module()
class FirstOfEachClass(CustomDataset):
    """The first images of each class folder, in the order of their names.

    A network trains on these few images in minutes. They are not drawn at
    random, so that everyone who has the folders trains on the same images.

    Args:
        data_root (str): The folder that contains the class folders.
        images_per_class (int): Number of images of each class.
        **kwargs: Arguments of MMPretrain's ``CustomDataset``, such as
            ``pipeline``.

    Raises:
        ValueError: ``images_per_class`` is not a positive integer, or a class
            has fewer images.
    """

    def __init__(self, data_root: str, images_per_class: int, **kwargs):
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
        super().__init__(data_root=data_root, with_label=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load the path and the label of each chosen image."""
        by_label: dict[int, list[dict]] = {}
        for sample in super().load_data_list():
            by_label.setdefault(int(sample['gt_label']), []).append(sample)
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
