"""The pictures that PixMix mixes in."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..image_folders import EXTENSIONS, list_images, open_rgb


class MixingImages:
    """A folder of pictures of no class, read one at a time.

    Args:
        folder (str | Path): Searched at any depth.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It has no picture.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        what = (
            'Expected `mixing_set` to be a folder of pictures to mix in, '
            'as the fractals and feature visualisations that PixMix '
            'publishes,'
        )
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f'{what} but {self.folder} is not there. Download and unpack '
                'them, or change `mixing_set`.'
            )
        self.files = list_images(self.folder)
        if not self.files:
            raise ValueError(
                f'{what} but {self.folder} has no file that ends '
                f'in {", ".join(EXTENSIONS)}. Unpack the archive in it, '
                'or change `mixing_set`.'
            )

    def __len__(self) -> int:
        return len(self.files)

    def draw(self, height: int, width: int) -> Image.Image:
        """A random crop of a random picture, 9/8 of the size before it.

        Args:
            height (int): Of the crop, in pixels.
            width (int): Of the crop, in pixels.

        Returns:
            Image.Image: In RGB.

        Raises:
            ValueError: The picture can't be read.
        """
        path = self.files[np.random.randint(len(self.files))]
        picture = open_rgb(path)
        # at least as large as the crop, and an eighth more
        scale = 9 / 8 * max(height / picture.height, width / picture.width)
        size = (
            max(width, round(scale * picture.width)),
            max(height, round(scale * picture.height)),
        )
        picture = picture.resize(size, Image.BILINEAR)
        left = np.random.randint(size[0] - width + 1)
        top = np.random.randint(size[1] - height + 1)
        return picture.crop((left, top, left + width, top + height))
