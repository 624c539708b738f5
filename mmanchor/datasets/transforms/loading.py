"""Reading image files, with errors that name the file."""

from mmcv.transforms import LoadImageFromFile as HostLoadImageFromFile
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class LoadImageFromFile(HostLoadImageFromFile):
    """The host's transform, but an image that can't be read is named.

    OpenCV says of an empty file that an assertion on a buffer failed, and not
    which of a million files it is. Once mmanchor is imported, configs that
    say ``type='LoadImageFromFile'`` get this class; a config that imports
    classes can import this one.

    Args:
        *args: As for the host's ``LoadImageFromFile``.
        **kwargs: As for the host's ``LoadImageFromFile``.

    Raises:
        OSError: There is no such file, or it can't be opened.
        ValueError: It holds no image that can be decoded.

    Example:
        >>> LoadImageFromFile(color_type='grayscale').color_type
        'grayscale'
    """

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']`` into ``results['img']``."""
        try:
            return super().transform(results)
        except OSError:  # they name it
            raise
        except Exception as error:  # OpenCV's own, and an AssertionError
            path = results.get('img_path')
            raise ValueError(
                f"Expected {path} to be an image, but got a file that can't "
                f'be decoded: {str(error).strip()}. Mend or remove it.'
            ) from error
