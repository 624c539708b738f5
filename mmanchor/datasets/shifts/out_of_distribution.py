"""Images that belong to none of a model's classes."""

from pathlib import Path

from mmcv.transforms import BaseTransform
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS, TRANSFORMS

from ..image_folders import EXTENSIONS, list_images
from .kinds import missing_set_error


@TRANSFORMS.register_module()
class MarkOutOfDistribution(BaseTransform):
    """Label an image -1, which marks it as out of distribution.

    The metric ``AnomalyRejection`` looks for this label. Put the transform
    before ``PackInputs`` in the pipeline of the data set.

    Modified key: ``gt_label``.

    Example:
        >>> MarkOutOfDistribution()(dict(gt_label=3))
        {'gt_label': -1}
    """

    def transform(self, results: dict) -> dict:
        """Set the label."""
        results['gt_label'] = -1
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@DATASETS.register_module()
class OODFolder(BaseDataset):
    """Images of none of the classes, at any depth of a folder.

    Every image has the label −1. The folder may be that of NINCO (its
    ``NINCO_OOD_classes``), iSUN, Textures (DTD's ``images``), Places365 or any
    other.

    Args:
        data_root (str): The folder.
        name (str, optional): Name of the set in error messages. Defaults to
            the name of the folder.
        **kwargs: Arguments of MMPretrain's ``BaseDataset``, such as
            ``pipeline``, which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: The folder contains no image.
    """

    def __init__(self, data_root: str, name: str | None = None, **kwargs):
        self.name = name or Path(data_root).name
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load the path of each image, and label it −1."""
        folder = Path(self.data_root).expanduser()
        if not folder.is_dir():
            raise missing_set_error(self.name, 'DATA_ROOT/**/*.jpg', folder)
        images = list_images(folder)
        if not images:
            raise ValueError(
                f'Expected {folder} to contain images of {self.name}, but got '
                f'none with one of {", ".join(EXTENSIONS)}. Change '
                '`data_root`.'
            )
        return [dict(img_path=str(path), gt_label=-1) for path in images]
