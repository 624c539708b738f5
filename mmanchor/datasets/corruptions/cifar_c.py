"""The 19 kinds of corruption with the strengths of CIFAR-10-C.

This module needs the extra ``mmanchor[corruptions]``.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from importlib import resources

import cv2
import numpy as np
from imagecorruptions.corruptions import plasma_fractal
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv

from .corrupt import seeded_numpy

# For severities 1 to 5, the arguments of each kind's function that follow the
# image and the generator. The functions' docstrings give the units.
CIFAR_C: dict[str, tuple[tuple, ...]] = dict(
    gaussian_noise=((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    shot_noise=((500,), (250,), (100,), (75,), (50,)),
    impulse_noise=((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    defocus_blur=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    glass_blur=(
        (0.05, 1, 1),
        (0.25, 1, 1),
        (0.4, 1, 1),
        (0.25, 1, 2),
        (0.4, 1, 2),
    ),
    motion_blur=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    zoom_blur=((5,), (10,), (15,), (20,), (25,)),
    snow=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    frost=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    fog=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    brightness=((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    contrast=((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    elastic_transform=(
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    pixelate=((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    jpeg_compression=((80,), (65,), (58,), (50,), (40,)),
    speckle_noise=((0.06,), (0.10,), (0.12,), (0.16,), (0.20,)),
    gaussian_blur=((0.4,), (0.6,), (0.7,), (0.8,), (1.0,)),
    spatter=(
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
    saturate=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
)

NUM_FROST = 5  # CIFAR-10-C uses five of the library's six pictures
FROST_SCALE = 0.2
WATER = np.array([175, 238, 238]) / 255  # pale turquoise
MUD = np.array([63, 42, 20]) / 255


def corrupt_as_cifar_c(
    image: np.ndarray, kind: str, severity: int, rng: np.random.Generator
) -> np.ndarray:
    """Corrupt an image with the strengths of CIFAR-10-C.

    Lengths are in pixels for images of any size. Only elastic transforms
    measure lengths in shares of the shorter side, which is 32 pixels in
    CIFAR-10-C. All random numbers come from ``rng``.

    Shape:
        - image: (H, W, 3), uint8, RGB
        - output: (H, W, 3), float64, in [0, 255] up to rounding

    Example:
        >>> grey = np.full((32, 32, 3), 100, np.uint8)
        >>> brighter = corrupt_as_cifar_c(
        ...     grey, 'brightness', 2, np.random.default_rng(0)
        ... )
        >>> brighter[0, 0].round(2)
        array([125.5, 125.5, 125.5])

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations, ICLR 2019, with the
    numbers of CIFAR-10-C. This is an implementation of our own: its images
    have the distribution of the published ones, but not the same pixels.
    """
    arguments = CIFAR_C[kind][severity - 1]
    corrupted = _FUNCTIONS[kind](image / 255, rng, *arguments)
    return 255 * np.clip(corrupted, 0, 1)


def gaussian_noise(image, rng, std):
    """Add noise; its standard deviation is a share of the full range."""
    return image + rng.normal(0, std, image.shape)


def shot_noise(image, rng, photons):
    """Count photons; ``photons`` are expected at full brightness."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image, rng, share):
    """Replace a share of all values, half of them by 0 and half by 1."""
    drawn = rng.random(image.shape)
    noisy = np.where(drawn < share / 2, 0.0, image)
    return np.where(drawn >= 1 - share / 2, 1.0, noisy)


def speckle_noise(image, rng, std):
    """Add noise proportional to the brightness."""
    return image * (1 + rng.normal(0, std, image.shape))


def blur_with_gaussian(image, std):
    """Convolve with a Gaussian of a standard deviation in pixels."""
    stds = (std, std) + (0,) * (image.ndim - 2)
    return ndimage.gaussian_filter(image, stds, mode='nearest')


def gaussian_blur(image, rng, std):
    """Convolve with a Gaussian of a standard deviation in pixels."""
    return blur_with_gaussian(image, std)


def glass_blur(image, rng, std, reach, passes):
    """Blur, replace pixels by random neighbours, and blur again.

    Offsets to the neighbour range from ``-reach`` to ``reach - 1``. The script
    of CIFAR-10-C intends to swap the two pixels, but its assignment writes the
    neighbour's value to both places.
    """
    height, width = image.shape[:2]
    # The script of CIFAR-10-C rounds down here.
    image = np.floor(255 * blur_with_gaussian(image, std)) / 255
    rows, columns = np.mgrid[
        reach + 1 : height - reach + 1, reach + 1 : width - reach + 1
    ]
    for _ in range(passes):
        up, left = rng.integers(-reach, reach, (2, *rows.shape))
        moved = image.copy()
        moved[rows, columns] = image[rows + up, columns + left]
        image = moved
    return blur_with_gaussian(image, std)


def defocus_blur(image, rng, radius, alias_std):
    """Convolve with a disk that is smoothed by a Gaussian of 3×3 pixels."""
    reach = np.arange(-8, 9)
    disk = np.float32(reach[:, None] ** 2 + reach**2 <= radius**2)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), alias_std)
    return cv2.filter2D(image, -1, kernel)


def blur_along_line(image, radius, std, angle):
    """Average over a trail of 2·radius + 1 pixels towards an angle.

    Weights decrease as a Gaussian along the trail. The image is padded with
    the values at its border.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * std**2))
    offsets = np.ceil(
        np.outer((np.sin(angle), np.cos(angle)), steps) - 0.5
    ).astype(int)
    height, width = image.shape[:2]
    margin = 2 * radius
    padding = ((margin, margin),) * 2 + ((0, 0),) * (image.ndim - 2)
    padded = np.pad(image, padding, mode='edge')
    total = np.zeros_like(image)
    for weight, (down, right) in zip(weights, offsets.T + margin):
        total += weight * padded[down : down + height, right : right + width]
    return total / weights.sum()


def motion_blur(image, rng, radius, std):
    """Blur along a line within 45° of the horizontal."""
    angle = np.radians(rng.uniform(-45, 45))
    # Round to grey levels like ImageMagick, which made CIFAR-10-C.
    return np.rint(255 * blur_along_line(image, radius, std, angle)) / 255


def _middle(shape, sides) -> tuple[slice, ...]:
    """The slices that cut the middle out of an image."""
    starts = [(large - side) // 2 for large, side in zip(shape, sides)]
    return tuple(
        slice(start, start + side) for start, side in zip(starts, sides)
    )


def zoom_in(image, factor):
    """Crop the centre in whole pixels, and enlarge it to the image's size."""
    sides = image.shape[:2]
    cut = _middle(sides, [int(np.ceil(side / factor)) for side in sides])
    factors = (factor, factor) + (1,) * (image.ndim - 2)
    larger = ndimage.zoom(image[cut], factors, order=1)
    return larger[_middle(larger.shape, sides)]


def zoom_blur(image, rng, steps):
    """Average an image and enlarged copies by 0 to ``steps`` percent."""
    layers = [zoom_in(image, 1 + step / 100) for step in range(steps + 1)]
    return np.mean([image, *layers], 0)


def snow(image, rng, mean, std, zoom, threshold, radius, blur_std, blend):
    """Whiten an image, and add motion-blurred flakes in two directions."""
    flakes = zoom_in(rng.normal(mean, std, image.shape[:2]), zoom)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    angle = np.radians(rng.uniform(-135, -45))
    flakes = blur_along_line(flakes, radius, blur_std, angle)[..., None]
    grey = image @ (0.299, 0.587, 0.114)
    white = np.maximum(image, 1.5 * grey[..., None] + 0.5)
    return blend * image + (1 - blend) * white + flakes + flakes[::-1, ::-1]


@lru_cache(maxsize=2 * NUM_FROST)
def frost_picture(number: int, height: int, width: int) -> np.ndarray:
    """Load a picture of frost in RGB.

    It is scaled to a fifth of its size, or, for larger images, to the smallest
    size that covers the image.

    Shape:
        - output: (at least height, at least width, 3), in [0, 1]
    """
    suffix = 'png' if number <= 3 else 'jpg'
    folder = resources.files('imagecorruptions') / 'frost'
    content = (folder / f'frost{number}.{suffix}').read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    scale = max(
        FROST_SCALE, height / picture.shape[0], width / picture.shape[1]
    )
    size = [round(scale * side) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size)[..., ::-1] / 255


def frost(image, rng, image_weight, frost_weight):
    """Add a random crop of a picture of frost."""
    height, width = image.shape[:2]
    picture = frost_picture(int(rng.integers(NUM_FROST)) + 1, height, width)
    top, left = (
        rng.integers(large - side + 1)
        for large, side in zip(picture.shape, (height, width))
    )
    cut = picture[top : top + height, left : left + width]
    return image_weight * image + frost_weight * cut


def fog(image, rng, weight, decay):
    """Add clouds, and scale the result to keep the image's maximum.

    Clouds are a diamond-square map whose side is the smallest power of two
    that covers the image: 32 for 32 pixels.
    """
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    with seeded_numpy(rng.integers(2**32, size=4)):
        clouds = plasma_fractal(side, decay)[:height, :width, None]
    most = image.max()
    return (image + weight * clouds) * most / (most + weight)


def brightness(image, rng, more):
    """Increase the value in HSV."""
    hsv = rgb2hsv(image)
    hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
    return hsv2rgb(hsv)


def saturate(image, rng, factor, more):
    """Multiply the saturation in HSV, and add to it."""
    hsv = rgb2hsv(image)
    hsv[..., 1] = np.clip(factor * hsv[..., 1] + more, 0, 1)
    return hsv2rgb(hsv)


def contrast(image, rng, factor):
    """Move each channel towards its mean."""
    mean = image.mean((0, 1))
    return mean + factor * (image - mean)


def elastic_transform(image, rng, amplitude, std, shift):
    """Apply a random affine map, then move each pixel.

    All lengths are shares of the shorter side.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    centre, arm = np.array([width // 2, height // 2]), side // 3
    corners = np.float32(centre + arm * np.array([[1, 1], [1, -1], [-1, -1]]))
    moved = corners + np.float32(
        rng.uniform(-shift * side, shift * side, corners.shape)
    )
    image = cv2.warpAffine(
        image,
        cv2.getAffineTransform(corners, moved),
        (width, height),
        borderMode=cv2.BORDER_REFLECT_101,
    )
    places = []
    for at in np.mgrid[:height, :width]:
        noise = rng.uniform(-1, 1, (height, width))
        smooth = ndimage.gaussian_filter(
            noise, std * side, mode='reflect', truncate=3
        )
        places.append(at + amplitude * side * smooth)
    channels = [
        ndimage.map_coordinates(channel, places, order=1, mode='reflect')
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, -1)


def _as_pil(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * image).astype(np.uint8))


def pixelate(image, rng, share):
    """Shrink to a share of the size with a box filter, and enlarge again."""
    picture = _as_pil(image)
    size = picture.size
    small = picture.resize([int(side * share) for side in size], Image.BOX)
    return np.asarray(small.resize(size, Image.BOX)) / 255


def jpeg_compression(image, rng, quality):
    """Compress as JPEG with the given quality."""
    file = io.BytesIO()
    _as_pil(image).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file)) / 255


def spatter(image, rng, mean, std, blur_std, threshold, strength, is_mud):
    """Spatter an image with water or mud.

    ``strength`` is the weight of water, or the standard deviation of the blur
    of mud. Without any drop, the image stays unchanged.
    """
    liquid = blur_with_gaussian(
        rng.normal(mean, std, image.shape[:2]), blur_std
    )
    if is_mud:
        cover = blur_with_gaussian(
            np.where(liquid > threshold, 1.0, 0.0), strength
        )
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return (1 - cover) * image + cover * MUD
    liquid[liquid < threshold] = 0
    light = _shade_drops((255 * liquid.clip(0, 1)).astype(np.uint8))
    if not light.any():
        return image
    return image + strength * (light / light.max())[..., None] * WATER


def _shade_drops(liquid: np.ndarray) -> np.ndarray:
    """Shade drops: brighter away from their edges, and on one side.

    Shape:
        - liquid: (H, W), uint8
        - output: (H, W), float32
    """
    depth = cv2.distanceTransform(
        255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5
    )
    depth = cv2.blur(np.minimum(depth, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    light = cv2.filter2D(cv2.equalizeHist(depth), cv2.CV_8U, emboss)
    return liquid * cv2.blur(light, (3, 3)).astype(np.float32)


_FUNCTIONS: dict[str, Callable] = {kind: globals()[kind] for kind in CIFAR_C}
