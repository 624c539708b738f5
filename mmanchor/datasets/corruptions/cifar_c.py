"""The 19 kinds of corruption with the settings of CIFAR-10-C.

Everything here needs the extra ``mmanchor[corruptions]``.
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

# What each kind's function takes after the image and the generator, at the
# severities 1 to 5; the units are in the functions' docstrings.
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

NUM_FROST = 5  # of the six pictures of the library, as in CIFAR-10-C
FROST_SCALE = 0.2
WATER = np.array([175, 238, 238]) / 255  # pale turquoise
MUD = np.array([63, 42, 20]) / 255


def corrupt_as_cifar_c(
    image: np.ndarray, kind: str, severity: int, rng: np.random.Generator
) -> np.ndarray:
    """Corrupt an image with the settings of CIFAR-10-C.

    Lengths are in pixels of an image of any size, but for elastic transforms,
    where they are shares of the shorter side: 32 pixels in CIFAR-10-C.

    Args:
        image (np.ndarray): RGB.
        kind (str): One of ``ALL_C_KINDS``.
        severity (int): 1 to 5.
        rng (np.random.Generator): All draws come from it.

    Shape:
        - image: (H, W, 3), uint8
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
    numbers of CIFAR-10-C. We write the methods anew, so that images are those
    of the published set in distribution, not pixel by pixel.
    """
    found = _FUNCTIONS[kind](image / 255, rng, *CIFAR_C[kind][severity - 1])
    return 255 * np.clip(found, 0, 1)


def gaussian_noise(image, rng, std):
    """Add noise of a standard deviation, in units of the full range."""
    return image + rng.normal(0, std, image.shape)


def shot_noise(image, rng, photons):
    """Count photons, so many at full brightness."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image, rng, share):
    """Replace a share of all values, half by black and half by white."""
    drawn = rng.random(image.shape)
    noisy = np.where(drawn < share / 2, 0.0, image)
    return np.where(drawn >= 1 - share / 2, 1.0, noisy)


def speckle_noise(image, rng, std):
    """Add noise in proportion to the brightness."""
    return image * (1 + rng.normal(0, std, image.shape))


def blur_with_gaussian(image, std):
    """Convolve with a Gaussian of a standard deviation in pixels."""
    stds = (std, std) + (0,) * (image.ndim - 2)
    return ndimage.gaussian_filter(image, stds, mode='nearest')


def gaussian_blur(image, rng, std):
    """Convolve with a Gaussian of a standard deviation in pixels."""
    return blur_with_gaussian(image, std)


def glass_blur(image, rng, std, reach, passes):
    """Blur, let pixels take a neighbour's value, blur.

    A neighbour is at most ``reach`` pixels up and to the left, which counts
    the pixel itself. The script of CIFAR-10-C means to swap both, but its
    assignment writes the neighbour's value to both places.
    """
    height, width = image.shape[:2]
    # the script rounds here, and downwards
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
    """Convolve with a disk, smoothed with a Gaussian on 3×3 pixels."""
    reach = np.arange(-8, 9)
    disk = np.float32(reach[:, None] ** 2 + reach**2 <= radius**2)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), alias_std)
    return cv2.filter2D(image, -1, kernel)


def blur_along_line(image, radius, std, angle):
    """Average over a trail of 2·radius + 1 pixels towards an angle.

    Weights fall as a Gaussian along the trail; beyond the border lies the
    border's own value.
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
    # in whole grey levels, as ImageMagick, which CIFAR-10-C was made with
    return np.rint(255 * blur_along_line(image, radius, std, angle)) / 255


def zoom_in(image, factor):
    """Enlarge the middle of an image, cut in whole pixels, to its size."""
    middle = []
    for side in image.shape[:2]:
        size = int(np.ceil(side / factor))
        start = (side - size) // 2
        middle.append(slice(start, start + size))
    larger = ndimage.zoom(
        image[tuple(middle)],
        (factor, factor) + (1,) * (image.ndim - 2),
        order=1,
    )
    starts = [
        (large - side) // 2
        for large, side in zip(larger.shape, image.shape[:2])
    ]
    return larger[
        tuple(
            slice(start, start + side)
            for start, side in zip(starts, image.shape[:2])
        )
    ]


def zoom_blur(image, rng, steps):
    """Average an image and its zooms by 0 to so many percent."""
    layers = [zoom_in(image, 1 + step / 100) for step in range(steps + 1)]
    return np.mean([image, *layers], 0)


def snow(image, rng, mean, std, zoom, threshold, radius, blur_std, blend):
    """Whiten an image, and add flakes blurred by the wind, twice."""
    flakes = zoom_in(rng.normal(mean, std, image.shape[:2]), zoom)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    angle = np.radians(rng.uniform(-135, -45))
    flakes = blur_along_line(flakes, radius, blur_std, angle)[..., None]
    grey = image @ (0.299, 0.587, 0.114)
    white = np.maximum(image, 1.5 * grey[..., None] + 0.5)
    return blend * image + (1 - blend) * white + flakes + flakes[::-1, ::-1]


@lru_cache(maxsize=2 * NUM_FROST)
def frost_picture(number: int, height: int, width: int) -> np.ndarray:
    """A picture of frost, in RGB.

    At a fifth of its size; or at the least size that covers an image, where
    that is larger.

    Shape:
        - output: (at least height, at least width, 3), in [0, 1]
    """
    suffix = 'png' if number <= 3 else 'jpg'
    file = (
        resources.files('imagecorruptions')
        / 'frost'
        / (f'frost{number}.{suffix}')
    )
    picture = cv2.imdecode(
        np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR
    )
    scale = max(
        FROST_SCALE, height / picture.shape[0], width / picture.shape[1]
    )
    size = [round(scale * side) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size)[..., ::-1] / 255


def frost(image, rng, image_weight, frost_weight):
    """Add a cut of a picture of frost."""
    height, width = image.shape[:2]
    picture = frost_picture(int(rng.integers(NUM_FROST)) + 1, height, width)
    top, left = (
        rng.integers(large - side + 1)
        for large, side in zip(picture.shape, (height, width))
    )
    cut = picture[top : top + height, left : left + width]
    return image_weight * image + frost_weight * cut


def fog(image, rng, weight, decay):
    """Add clouds, and scale so that the image's maximum stays as it was.

    Clouds are a diamond-square map with a side of a power of two, the first
    that covers the image: 32 for 32 pixels.
    """
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    with seeded_numpy(rng.integers(2**32, size=4)):
        clouds = plasma_fractal(side, decay)[:height, :width, None]
    most = image.max()
    return (image + weight * clouds) * most / (most + weight)


def _change_hsv(image, change: Callable) -> np.ndarray:
    """Change hue, saturation and value, each (H, W), in place."""
    hsv = rgb2hsv(image)
    change(hsv[..., 0], hsv[..., 1], hsv[..., 2])
    return hsv2rgb(hsv)


def brightness(image, rng, more):
    """Add to the value of HSV."""

    def brighten(hue, saturation, value):
        value[:] = np.clip(value + more, 0, 1)

    return _change_hsv(image, brighten)


def saturate(image, rng, factor, more):
    """Multiply the saturation of HSV, and add to it."""

    def change(hue, saturation, value):
        saturation[:] = np.clip(factor * saturation + more, 0, 1)

    return _change_hsv(image, change)


def contrast(image, rng, factor):
    """Bring each channel closer to its mean."""
    mean = image.mean((0, 1))
    return mean + factor * (image - mean)


def elastic_transform(image, rng, amplitude, std, shift):
    """Move three points, then each pixel; all in shares of the side."""
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
    down, right = (
        amplitude
        * side
        * ndimage.gaussian_filter(
            rng.uniform(-1, 1, (height, width)),
            std * side,
            mode='reflect',
            truncate=3,
        )
        for _ in range(2)
    )
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [
            ndimage.map_coordinates(
                image[..., channel],
                (rows + down, columns + right),
                order=1,
                mode='reflect',
            )
            for channel in range(3)
        ],
        -1,
    )


def _as_pil(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * image).astype(np.uint8))


def pixelate(image, rng, share):
    """Shrink to a share of the size, in boxes, and enlarge again."""
    picture = _as_pil(image)
    size = picture.size
    small = picture.resize([int(side * share) for side in size], Image.BOX)
    return np.asarray(small.resize(size, Image.BOX)) / 255


def jpeg_compression(image, rng, quality):
    """Compress as JPEG of a quality."""
    file = io.BytesIO()
    _as_pil(image).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file)) / 255


def spatter(image, rng, mean, std, blur_std, threshold, strength, is_mud):
    """Throw water or mud at an image.

    ``strength`` is the weight of water, and the standard deviation that
    splashes of mud are blurred by. No drop leaves the image as it was.
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
    """Drops that are brighter away from their edges, and on one side.

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
