"""PixMix: mixes training images with pictures of no class."""

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps

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


MAX_SEVERITY = 10


def _affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, Image.BILINEAR)


# a strength in [0, 1] and a sign -> the image changed that much
OPERATIONS = {
    'autocontrast': lambda image, strength, sign: ImageOps.autocontrast(image),
    'equalize': lambda image, strength, sign: ImageOps.equalize(image),
    'posterize': lambda image, strength, sign: ImageOps.posterize(
        image, max(1, 4 - int(4 * strength))
    ),
    'rotate': lambda image, strength, sign: image.rotate(
        sign * int(30 * strength), Image.BILINEAR
    ),
    'solarize': lambda image, strength, sign: ImageOps.solarize(
        image, 256 - int(256 * strength)
    ),
    'shear_x': lambda image, strength, sign: _affine(
        image, 1, sign * 0.3 * strength, 0, 0, 1, 0
    ),
    'shear_y': lambda image, strength, sign: _affine(
        image, 1, 0, 0, sign * 0.3 * strength, 1, 0
    ),
    'translate_x': lambda image, strength, sign: _affine(
        image, 1, 0, sign * int(image.width / 3 * strength), 0, 1, 0
    ),
    'translate_y': lambda image, strength, sign: _affine(
        image, 1, 0, 0, 0, 1, sign * int(image.height / 3 * strength)
    ),
}


def _enhance(kind):
    # a factor from 0.1 to 1.9
    return lambda image, strength, sign: kind(image).enhance(
        0.1 + 1.8 * strength
    )


# they resemble corruptions of the test sets, so are left out by default
MORE_OPERATIONS = {
    'color': _enhance(ImageEnhance.Color),
    'contrast': _enhance(ImageEnhance.Contrast),
    'brightness': _enhance(ImageEnhance.Brightness),
    'sharpness': _enhance(ImageEnhance.Sharpness),
}


def _weights(beta: float) -> tuple[float, float]:
    """Of the image and of what is mixed in: a mean, or a difference."""
    much, little = np.random.beta(beta, 1), np.random.beta(1, beta)
    if np.random.random() < 0.5:
        return much, little
    return 1 + np.random.beta(1, beta), -little


def mix_additively(
    one: np.ndarray, other: np.ndarray, weights: tuple[float, float]
) -> np.ndarray:
    """A weighted sum of two images about mid-grey.

    Args:
        one (np.ndarray): In [0, 1].
        other (np.ndarray): In [0, 1], of the same shape.
        weights (Tuple[float, float]): Of either.

    Returns:
        np.ndarray: Clipped to [0, 1].

    Example:
        >>> mix_additively(np.ones(1), np.zeros(1), (1, 0.5))
        array([0.75])
    """
    a, b = weights
    return np.clip(0.5 + a * (one - 0.5) + b * (other - 0.5), 0, 1)


def mix_multiplicatively(
    one: np.ndarray, other: np.ndarray, weights: tuple[float, float]
) -> np.ndarray:
    """A weighted geometric mean of two images, mid-grey being 1.

    Arguments and result are those of :func:`mix_additively`.

    Example:
        >>> mix_multiplicatively(np.array([0.5]), np.ones(1), (1, 1))
        array([1.])
    """
    a, b = weights
    # black to a negative power is white, not infinite
    product = (2 * one) ** a * np.maximum(2 * other, 1e-37) ** b
    return np.clip(product / 2, 0, 1)


@TRANSFORMS.register_module()
class PixMix(BaseTransform):
    """Mix an image with pictures of no class, and with itself changed.

    From the image, or in half of the cases a changed copy of it, it goes
    through up to ``rounds`` rounds. Each mixes in a picture of the mixing
    set, or another changed copy, by sum or by product, with random weights.

    Required and modified key: ``img`` (H, W, 3), uint8. It goes last but for
    packing, after crop and flip.

    Args:
        mixing_set (str): Folder of pictures, at any depth.
        rounds (int): Most rounds; their number is uniform from 0. Defaults
            to 4.
        beta (float): The larger, the nearer to the image. Defaults to 3.
        severity (float): Of the changed copies, in (0, 10]. Defaults to 3.
        all_operations (bool): Whether copies may change in colour, contrast,
            brightness and sharpness too. Defaults to False.
        channel_order (str): ``'bgr'``, as MMPretrain reads files, or
            ``'rgb'``, as its CIFAR datasets have them. Defaults to ``'bgr'``.

    Raises:
        FileNotFoundError: The mixing set is not there.
        ValueError: The mixing set is empty, or an argument out of range.

    Source: D. Hendrycks et al., PixMix: Dreamlike Pictures Comprehensively
    Improve Safety Measures, CVPR 2022, and the values its code has for CIFAR
    as defaults. For ImageNet it has ``beta=4, severity=1,
    all_operations=True``.
    """

    def __init__(
        self,
        mixing_set: str,
        rounds: int = 4,
        beta: float = 3,
        severity: float = 3,
        all_operations: bool = False,
        channel_order: str = 'bgr',
    ):
        if not isinstance(rounds, int) or rounds < 0:
            raise ValueError(
                'Expected `rounds` to be an integer of at least '
                f'0, but got {rounds!r}.'
            )
        if not beta > 0:
            raise ValueError(
                f'Expected `beta` to be greater than 0, but got {beta}.'
            )
        if not 0 < severity <= MAX_SEVERITY:
            raise ValueError(
                f'Expected `severity` to be in (0, '
                f'{MAX_SEVERITY}], but got {severity}.'
            )
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                "Expected `channel_order` to be 'bgr' or 'rgb', "
                f'but got {channel_order!r}.'
            )
        self.pictures = MixingImages(mixing_set)
        self.rounds = rounds
        self.beta = beta
        self.severity = severity
        self.channel_order = channel_order
        # names: workers may have to be sent it
        self.operations = [*OPERATIONS]
        if all_operations:
            self.operations += MORE_OPERATIONS

    def transform(self, results: dict) -> dict:
        """Mix."""
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                'Expected an image of shape (H, W, 3) in uint8, but got '
                f'{image.shape} in {image.dtype}. Move PixMix to before '
                'images become tensors or other numbers.'
            )
        if self.channel_order == 'bgr':
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        image = self._mix(Image.fromarray(image))
        if self.channel_order == 'bgr':
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        results['img'] = image
        return results

    def _mix(self, image: Image.Image) -> np.ndarray:
        picture = self.pictures.draw(image.height, image.width)
        mixed = _unit(self._sometimes_changed(image, image))
        for _ in range(np.random.randint(self.rounds + 1)):
            other = _unit(self._sometimes_changed(image, picture))
            mix = (mix_additively, mix_multiplicatively)[np.random.randint(2)]
            mixed = mix(mixed, other, _weights(self.beta))
        return np.rint(255 * mixed).astype(np.uint8)

    def _sometimes_changed(self, image, otherwise):
        if np.random.random() < 0.5:
            return otherwise
        name = self.operations[np.random.randint(len(self.operations))]
        operation = OPERATIONS.get(name) or MORE_OPERATIONS[name]
        strength = np.random.uniform(min(0.1, self.severity), self.severity)
        sign = np.random.choice((-1, 1))
        return operation(image, strength / MAX_SEVERITY, sign)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(mixing_set={str(self.pictures.folder)!r}'
            f', pictures={len(self.pictures)}, rounds={self.rounds}, '
            f'beta={self.beta}, severity={self.severity}, '
            f'operations={len(self.operations)}, '
            f'channel_order={self.channel_order!r})'
        )


def _unit(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255
