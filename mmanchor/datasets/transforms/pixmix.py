"""PixMix: mixes training images with pictures of no class."""

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps

from ..image_folders import EXTENSIONS, list_images, open_rgb


class MixingImages:
    """The pictures that PixMix mixes in, at any depth of a folder.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: The folder contains no picture.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        expected = (
            'Expected `mixing_set` to be a folder of pictures to mix in, '
            'such as the fractals and feature visualisations that PixMix '
            'publishes,'
        )
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f'{expected} but {self.folder} is not there. Download and '
                'unpack them, or change `mixing_set`.'
            )
        self.files = list_images(self.folder)
        if not self.files:
            raise ValueError(
                f'{expected} but {self.folder} has no file that ends '
                f'in {", ".join(EXTENSIONS)}. Unpack the archive in it, '
                'or change `mixing_set`.'
            )

    def __len__(self) -> int:
        return len(self.files)

    def draw(self, height: int, width: int) -> Image.Image:
        """Draw a random crop of a random picture, in RGB.

        The picture is resized first, so that its shorter side is 9/8 of the
        crop's.

        Raises:
            ValueError: The picture can't be read.
        """
        path = self.files[np.random.randint(len(self.files))]
        picture = open_rgb(path)
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


# Each operation takes an image, a strength in [0, 1] and a sign.
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
    # The factor of enhancement ranges from 0.1 to 1.9.
    return lambda image, strength, sign: kind(image).enhance(
        0.1 + 1.8 * strength
    )


# These resemble corruptions of the test sets, so they are not used by default.
MORE_OPERATIONS = {
    'color': _enhance(ImageEnhance.Color),
    'contrast': _enhance(ImageEnhance.Contrast),
    'brightness': _enhance(ImageEnhance.Brightness),
    'sharpness': _enhance(ImageEnhance.Sharpness),
}


def _weights(beta: float) -> tuple[float, float]:
    """Draw the weights of two images, for a mean or for a difference."""
    much, little = np.random.beta(beta, 1), np.random.beta(1, beta)
    if np.random.random() < 0.5:
        return much, little
    return 1 + np.random.beta(1, beta), -little


def mix_additively(
    one: np.ndarray, other: np.ndarray, weights: tuple[float, float]
) -> np.ndarray:
    """Add two images in [0, 1] with weights, relative to mid-grey.

    The sum is clipped to [0, 1].

    Example:
        >>> mix_additively(np.ones(1), np.zeros(1), (1, 0.5))
        array([0.75])
    """
    a, b = weights
    return np.clip(0.5 + a * (one - 0.5) + b * (other - 0.5), 0, 1)


def mix_multiplicatively(
    one: np.ndarray, other: np.ndarray, weights: tuple[float, float]
) -> np.ndarray:
    """Multiply two images with weights as exponents, relative to mid-grey.

    Example:
        >>> mix_multiplicatively(np.array([0.5]), np.ones(1), (1, 1))
        array([1.])
    """
    a, b = weights
    # Black to a negative power would be infinite; it becomes white.
    product = (2 * one) ** a * np.maximum(2 * other, 1e-37) ** b
    return np.clip(product / 2, 0, 1)


@TRANSFORMS.register_module()
class PixMix(BaseTransform):
    """Mix an image with pictures of no class and augmented copies of itself.

    It starts from the image, or with probability 1/2 from an augmented copy.
    Each of up to ``rounds`` rounds mixes in a picture of the mixing set or
    another augmented copy, by sum or by product, with random weights.

    Required and modified key: ``img`` (H, W, 3), uint8. Put the transform
    after crop and flip, just before packing.

    Args:
        mixing_set (str): The folder of pictures, searched at any depth.
        rounds (int): Maximum number of rounds. The number is drawn uniformly
            from 0 to this maximum. Defaults to 4.
        beta (float): Results are closer to the image for larger values.
            Defaults to 3.
        severity (float): Strength of augmentations, in (0, 10]. Defaults to
            3.
        all_operations (bool): Whether augmentations include changes of
            colour, contrast, brightness and sharpness. Defaults to False.
        channel_order (str): ``'bgr'``, as MMPretrain reads files, or
            ``'rgb'``, as in its CIFAR data sets. Defaults to ``'bgr'``.

    Raises:
        FileNotFoundError: The mixing set does not exist.
        ValueError: The mixing set is empty, or an argument is out of range.

    Source: D. Hendrycks et al., PixMix: Dreamlike Pictures Comprehensively
    Improve Safety Measures, CVPR 2022. Defaults are the values of its code for
    CIFAR. For ImageNet, its code has ``beta=4, severity=1,
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
                f'0, but got {rounds!r}. Change `rounds`.'
            )
        if not beta > 0:
            raise ValueError(
                f'Expected `beta` to be greater than 0, but got {beta}. '
                'Change `beta`.'
            )
        if not 0 < severity <= MAX_SEVERITY:
            raise ValueError(
                f'Expected `severity` to be in (0, '
                f'{MAX_SEVERITY}], but got {severity}. Change `severity`.'
            )
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                "Expected `channel_order` to be 'bgr' or 'rgb', "
                f'but got {channel_order!r}. Change `channel_order`.'
            )
        self.pictures = MixingImages(mixing_set)
        self.rounds = rounds
        self.beta = beta
        self.severity = severity
        self.channel_order = channel_order
        # Store names, because functions can't be pickled for workers.
        self.operations = [*OPERATIONS]
        if all_operations:
            self.operations += MORE_OPERATIONS

    def transform(self, results: dict) -> dict:
        """Mix the image."""
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                'Expected an image of shape (H, W, 3) in uint8, but got '
                f'{image.shape} in {image.dtype}. Put PixMix before '
                'transforms that change the type of images.'
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
        mixed = _to_unit_range(self._maybe_augment(image, image))
        for _ in range(np.random.randint(self.rounds + 1)):
            other = _to_unit_range(self._maybe_augment(image, picture))
            mix = (mix_additively, mix_multiplicatively)[np.random.randint(2)]
            mixed = mix(mixed, other, _weights(self.beta))
        return np.rint(255 * mixed).astype(np.uint8)

    def _maybe_augment(self, image, otherwise):
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


def _to_unit_range(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255
