"""Images that belong to none of a model's classes."""

from pathlib import Path

from mmcv.transforms import BaseTransform
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS, TRANSFORMS

from ...utils.names import shorten_list
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


@DATASETS.register_module()
class OpenOOD(BaseDataset):
    """One set out of distribution of OpenOOD v1.5, as its lists have it.

    The lists leave out images that also show one of the benchmark's classes.
    Every sample has the label -1.

    Args:
        data_root (str): The folder with ``benchmark_imglist``, and
            ``images_classic`` or ``images_largescale``.
        benchmark (str): The images in distribution, as the folder of lists
            is called: ``'cifar10'``, ``'cifar100'``, ``'imagenet'``, ...
        subset (str): The set, as its list is called: ``'tin'``, ``'mnist'``,
            ``'ssb_hard'``, ...
        **kwargs: Arguments of the host's ``BaseDataset``, as ``pipeline``,
            which starts with ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The list, or the folder of images, is not there.
        ValueError: The list is empty, or images that it names are not there.

    Source: Zhang et al., OpenOOD v1.5: Enhanced Benchmark for
    Out-of-Distribution Detection, 2023 (arXiv 2306.09301).
    """

    LAYOUT = (
        'DATA_ROOT/benchmark_imglist/BENCHMARK/test_SUBSET.txt, '
        'DATA_ROOT/images_classic/**/*.png, '
        'DATA_ROOT/images_largescale/**/*.jpg'
    )
    IMAGES = ('images_classic', 'images_largescale')

    def __init__(self, data_root: str, benchmark: str, subset: str, **kwargs):
        self.benchmark, self.subset = benchmark, subset
        kwargs = dict(dict(test_mode=True), **kwargs)
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """The path of each image, and -1."""
        root = Path(self.data_root).expanduser()
        name = f"OpenOOD's {self.subset}"
        path = (
            root
            / 'benchmark_imglist'
            / self.benchmark
            / f'test_{self.subset}.txt'
        )
        if not path.is_file():
            raise missing_set_error(name, self.LAYOUT, path)
        # a line is a path, which may have spaces, and a label
        lines = path.read_text(encoding='utf-8').splitlines()
        images = [line.rsplit(maxsplit=1)[0] for line in lines if line.strip()]
        if not images:
            raise ValueError(
                f'Expected {path} to name images, but got none. Extract the '
                'lists again.'
            )
        top = Path(images[0]).parts[0]
        folders = [
            root / one for one in self.IMAGES if (root / one / top).is_dir()
        ]
        if not folders:
            raise missing_set_error(
                name, self.LAYOUT, root / self.IMAGES[0] / top
            )
        folder = folders[0]
        lacking = [one for one in images if not (folder / one).is_file()]
        if lacking:
            raise ValueError(
                f'Expected all {len(images)} images that {path} names in '
                f'{folder}, but got {len(lacking)} fewer: '
                f'{shorten_list(lacking)}. Extract the set again.'
            )
        return [
            dict(img_path=str(folder / one), gt_label=-1) for one in images
        ]
