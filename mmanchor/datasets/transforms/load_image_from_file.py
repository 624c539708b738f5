"""Loads image files, with errors that name the file."""

from mmcv.transforms import LoadImageFromFile as HostLoadImageFromFile
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class LoadImageFromFile(HostLoadImageFromFile):
    """The transform of mmcv, but its errors name the file.

    For an empty file, OpenCV only reports that an assertion on a buffer
    failed, and not which of a million files caused it. Once mmanchor is
    imported, configs with ``type='LoadImageFromFile'`` get this class.
    Configs that import classes can import this one.

    Args:
        *args: See ``LoadImageFromFile`` of mmcv.
        **kwargs: See ``LoadImageFromFile`` of mmcv.

    Raises:
        OSError: The file does not exist, or can't be opened.
        ValueError: The file contains no image that can be decoded.

    Example:
        >>> LoadImageFromFile(color_type='grayscale').color_type
        'grayscale'
    """

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']`` into ``results['img']``."""
        try:
            return super().transform(results)
        except OSError:  # its message names the file
            raise
        except Exception as error:  # OpenCV's error, or an AssertionError
            path = results.get('img_path')
            raise ValueError(
                f"Expected {path} to be an image, but got a file that can't "
                f'be decoded: {str(error).strip()}. Replace or remove it.'
            ) from error
