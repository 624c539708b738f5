"""CIFAR-C's settings, kind by kind, against independent computations."""

import colorsys
import io

import cv2
import numpy as np
import pytest
from imagecorruptions import corruptions as library
from PIL import Image
from scipy import signal
from skimage.filters import gaussian

from mmanchor.datasets import ALL_C_KINDS
from mmanchor.datasets.corruptions import cifar_c as ours
from mmanchor.datasets.corruptions.corrupt import corrupt

SEVERITIES = (1, 2, 3, 4, 5)


def corrupted(image, kind, severity, index=0):
    return corrupt(image, kind, severity, 0, index, 'cifar-c')


def rng(seed=0):
    return np.random.default_rng(seed)


def photo(height=32, width=32, seed=0, detail=5):
    """A smooth image with some of everything."""
    coarse = rng(seed).integers(
        20, 236, size=(detail, detail, 3), dtype=np.uint8
    )
    return np.asarray(
        Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    )


def by_severity(names, *values):
    """Run a test for each severity, with its settings."""
    return pytest.mark.parametrize(
        f'severity, {names}', zip(SEVERITIES, *values)
    )


def grey(value=128, side=256):
    return np.full((side, side, 3), value, np.uint8)


def dot(side=33):
    """A white pixel in the middle of a black image."""
    image = np.zeros((side, side, 3), np.uint8)
    image[side // 2, side // 2] = 255
    return image


def distance(one, other):
    return np.abs(one.astype(float) - other).mean()


def test_every_kind_has_settings_for_five_severities():
    assert set(ours.CIFAR_C) == set(ALL_C_KINDS)
    assert {len(of) for of in ours.CIFAR_C.values()} == {5}


# Half a grey level is lost on average where values are cut to integers.


@by_severity('std', (0.04, 0.06, 0.08, 0.09, 0.10))
def test_gaussian_noise_has_its_standard_deviation(severity, std):
    found = corrupted(grey(), 'gaussian_noise', severity) / 255
    assert found.std() == pytest.approx(std, rel=0.01)
    assert found.mean() == pytest.approx(127.5 / 255, abs=0.001)


@by_severity('photons', (500, 250, 100, 75, 50))
def test_shot_noise_has_the_variance_of_counted_photons(severity, photons):
    found = corrupted(grey(64), 'shot_noise', severity) / 255
    expected = 64 / 255 / photons + 1 / 12 / 255**2
    assert found.var() == pytest.approx(expected, rel=0.03)
    assert found.mean() == pytest.approx(63.5 / 255, abs=0.001)


@by_severity('share', (0.01, 0.02, 0.03, 0.05, 0.07))
def test_impulse_noise_makes_a_share_black_and_white(severity, share):
    found = corrupted(grey(side=512), 'impulse_noise', severity)
    assert set(np.unique(found)) == {0, 128, 255}
    for value in (0, 255):
        assert (found == value).mean() == pytest.approx(share / 2, rel=0.05)


@by_severity('std', (0.06, 0.10, 0.12, 0.16, 0.20))
@pytest.mark.parametrize('value', [40, 120])
def test_speckle_noise_is_in_proportion_to_the_image(severity, std, value):
    found = corrupted(grey(value), 'speckle_noise', severity)
    expected = np.sqrt((std * value) ** 2 + 1 / 12)
    assert found.std() == pytest.approx(expected, rel=0.01)


@by_severity('std', (0.4, 0.6, 0.7, 0.8, 1.0))
def test_gaussian_blur_is_that_of_scikit_image(severity, std):
    expected = 255 * gaussian(photo() / 255, std, channel_axis=-1)
    found = corrupted(photo(), 'gaussian_blur', severity)
    assert np.abs(found - np.floor(expected + 1e-9)).max() <= 1
    assert distance(found, np.floor(expected)) < 0.01


@by_severity('std, passes', (0.05, 0.25, 0.4, 0.25, 0.4), (1, 1, 1, 2, 2))
def test_glass_blur_takes_values_from_up_and_left(severity, std, passes):
    """With a blur on each side that scikit-image has."""
    rows, columns = np.mgrid[:32, :32]
    image = np.stack([4 * rows, 4 * columns, 0 * rows], -1).astype(np.uint8)
    found = ours.glass_blur(image / 255, rng(1), std, 1, passes)
    first = np.floor(255 * gaussian(image / 255, std, channel_axis=-1)) / 255
    up, left = rng(1).integers(-1, 1, (2, 30, 30))
    where = np.stack([rows, columns])
    moved = first.copy()
    moved[2:, 2:] = first[rows[2:, 2:] + up, columns[2:, 2:] + left]
    once = gaussian(moved, std, channel_axis=-1)
    again = corrupted(image, 'glass_blur', severity)
    assert np.allclose(found, once) == (passes == 1)
    # at most a pixel a pass, and never down or to the right
    drift = 4 * where.transpose(1, 2, 0)[8:-8, 8:-8] - again[8:-8, 8:-8, :2]
    assert -3 <= drift.min() and drift.max() <= 4 * passes + 4
    assert drift.mean() == pytest.approx(2 * passes, abs=1)


@by_severity('radius, std', (0.3, 0.4, 0.5, 1, 1.5), (0.4, 0.5, 0.6, 0.2, 0.1))
def test_defocus_blur_spreads_a_dot_over_a_smoothed_disk(
    severity, radius, std
):
    found = corrupted(dot(), 'defocus_blur', severity)[..., 0]
    rows, columns = np.mgrid[-8:9, -8:9]
    disk = (rows**2 + columns**2 <= radius**2).astype(float)
    kernel = np.exp(-(np.arange(-1, 2) ** 2) / (2 * std**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    expected = 255 * signal.convolve2d(disk / disk.sum(), kernel, 'same')
    assert np.abs(found[8:25, 8:25] - expected).max() <= 1.01
    library_kernel = library.disk(radius, std)
    assert np.allclose(expected / 255, library_kernel, atol=1e-4)


@pytest.mark.parametrize(
    'radius, std', [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)]
)
@pytest.mark.parametrize('angle', [-45, -20, 0, 33])
def test_motion_blur_is_that_of_the_library(radius, std, angle):
    image = photo() / 255
    expected = library._motion_blur(image, radius, std, angle)
    found = ours.blur_along_line(image, radius, std, np.radians(angle))
    assert np.allclose(found, expected, atol=1e-6)


@by_severity('std', (1, 1.5, 2, 2, 2.5))
def test_motion_blur_makes_trails_within_45_degrees(severity, std):
    weight = np.exp(-(np.arange(30) ** 2) / (2 * std**2))
    for index in range(20):
        found = corrupted(dot(49), 'motion_blur', severity, index)[..., 0]
        assert found[24, 24] == round(255 / weight.sum())
        rows, columns = np.nonzero(found)
        assert columns.max() == 24  # all to one side
        assert (abs(rows - 24) <= 24 - columns).all()


@by_severity('most', (5, 10, 15, 20, 25))
def test_zoom_blur_is_the_mean_of_the_library_s_zooms(severity, most):
    image = photo() / 255
    layers = [image]
    for percent in range(most + 1):
        layers.append(library.clipped_zoom(image, 1 + percent / 100))
    expected = np.mean([layer[:32, :32] for layer in layers], 0)
    found = corrupted(photo(), 'zoom_blur', severity)
    assert np.abs(found - 255 * expected).max() <= 1.01


@pytest.mark.parametrize('factor', [1, 1.25, 1.75, 2.25])
@pytest.mark.parametrize('side', [9, 16, 32])
def test_zooms_are_of_the_middle(factor, side):
    ramp = np.arange(side, dtype=float) - (side - 1) / 2
    found = ours.zoom_in(np.add.outer(ramp, 100 * ramp), factor)
    assert found.shape == (side, side)
    steps = np.diff(found[0]) / 100
    cut = np.ceil(side / factor)  # in whole pixels
    assert np.allclose(steps, (cut - 1) / (round(cut * factor) - 1))
    assert abs(found.mean()) <= 101


SNOW = [
    (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
    (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
]


@by_severity('settings', SNOW)
def test_snow_is_made_of_the_library_s_parts(severity, settings):
    """A whitened image and flakes blurred by the wind, once upside down."""
    mean, std, zoom, threshold, radius, blur, blend = settings
    image = np.float32(photo() / 255)
    level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    white = np.maximum(image, 1.5 * level + 0.5)
    for index in range(5):
        draws = rng(index)
        drawn = draws.normal(mean, std, (32, 32, 1))
        flakes = library.clipped_zoom(drawn, zoom)[..., 0]
        trim = (len(flakes) - 32) // 2
        flakes = flakes[trim : trim + 32, trim : trim + 32].copy()
        flakes[flakes < threshold] = 0
        angle = draws.uniform(-135, -45)
        flakes = library._motion_blur(flakes.clip(0, 1), radius, blur, angle)
        expected = blend * image + (1 - blend) * white
        expected = expected + (flakes + np.rot90(flakes, 2))[..., None]
        found = corrupt_float(photo(), 'snow', severity, index)
        assert np.allclose(found, 255 * expected.clip(0, 1), atol=1e-3)


def corrupt_float(image, kind, severity, index):
    return ours.corrupt_as_cifar_c(image, kind, severity, rng(index))


@by_severity(
    'weights', [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)]
)
def test_frost_adds_a_cut_of_a_picture_with_its_weights(severity, weights):
    black = np.zeros((32, 32, 3), np.uint8)
    for index in range(5):
        cut = corrupt_float(black, 'frost', severity, index) / weights[1]
        pictures = [
            255 * ours.frost_picture(number, 32, 32) for number in range(1, 6)
        ]
        nearest = min(
            cv2.matchTemplate(
                np.float32(picture), np.float32(cut), cv2.TM_SQDIFF
            ).min()
            for picture in pictures
        )
        assert nearest / cut.size < 0.1
        image = photo(seed=index)
        expected = weights[0] * image + weights[1] * cut
        found = corrupt_float(image, 'frost', severity, index)
        assert np.allclose(found, expected.clip(0, 255))


def test_frost_pictures_are_at_a_fifth_or_cover_the_image():
    small = [ours.frost_picture(i, 32, 32).shape for i in range(1, 6)]
    assert small == [
        (120, 180, 3),
        (63, 112, 3),
        (63, 112, 3),
        (70, 105, 3),
        (99, 132, 3),
    ]
    for height, width in ((63, 112), (64, 32), (32, 150), (224, 300)):
        for i in range(1, 6):
            shape = ours.frost_picture(i, height, width).shape
            assert shape[0] >= height and shape[1] >= width
            tight = shape[0] == height or shape[1] == width
            assert tight or shape == small[i - 1]
    assert corrupted(photo(224, 300), 'frost', 5).shape == (224, 300, 3)


FOG = [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)]


@by_severity('settings', FOG)
def test_fog_scales_clouds_and_image_back(severity, settings):
    weight, decay = settings
    image = photo()
    most = image.max() / 255
    found = corrupt_float(image, 'fog', severity, 4) / 255
    clouds = (found * (most + weight) / most - image / 255) / weight
    assert np.ptp(clouds, axis=-1).max() < 1e-6  # the same for all channels
    assert clouds.min() == pytest.approx(0, abs=1e-6)
    assert clouds.max() == pytest.approx(1, abs=1e-6)
    assert found.max() <= most + 1e-9
    # the smaller the decay, the rougher
    with_numpy_seed = rng(4).integers(2**32, size=4)
    np.random.seed(with_numpy_seed)
    expected = library.plasma_fractal(32, decay)
    assert np.allclose(clouds[..., 0], expected, atol=1e-5)


def test_fog_has_a_map_that_covers_the_image(monkeypatch):
    sides = []
    inner = library.plasma_fractal

    def count(side, decay):
        sides.append(side)
        return inner(side, decay)

    monkeypatch.setattr(ours, 'plasma_fractal', count)
    for shape in ((16, 16), (32, 32), (33, 20), (8, 64)):
        corrupted(photo(*shape), 'fog', 3)
    assert sides == [16, 32, 64, 64]


def in_hsv(image, change):
    """What colorsys makes of a changed hue, saturation and value."""
    found = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel)))
        for pixel in image.reshape(-1, 3) / 255
    ]
    return 255 * np.reshape(found, image.shape)


@by_severity('more', (0.05, 0.1, 0.15, 0.2, 0.3))
def test_brightness_adds_to_the_value(severity, more):
    expected = in_hsv(photo(), lambda h, s, v: (h, s, min(v + more, 1)))
    found = corrupt_float(photo(), 'brightness', severity, 0)
    assert np.allclose(found, expected)
    assert (
        distance(
            corrupted(photo(), 'brightness', severity), np.floor(expected)
        )
        < 0.01
    )


@by_severity('factor, more', (0.3, 0.1, 1.5, 2, 2.5), (0, 0, 0, 0.1, 0.2))
def test_saturate_changes_the_saturation(severity, factor, more):
    expected = in_hsv(
        photo(), lambda h, s, v: (h, min(factor * s + more, 1), v)
    )
    found = corrupt_float(photo(), 'saturate', severity, 0)
    assert np.allclose(found, expected)


@by_severity('factor', (0.75, 0.5, 0.4, 0.3, 0.15))
def test_contrast_is_about_the_mean_of_each_channel(severity, factor):
    image = photo().astype(float)
    mean = image.mean((0, 1))
    found = corrupt_float(photo(), 'contrast', severity, 0)
    assert np.allclose(found, mean + factor * (image - mean))
    assert np.allclose(found.mean((0, 1)), mean)


@by_severity('quality', (80, 65, 58, 50, 40))
def test_jpeg_compression_is_that_of_pil(severity, quality):
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, 'JPEG', quality=quality)
    assert np.array_equal(
        corrupted(photo(), 'jpeg_compression', severity),
        np.asarray(Image.open(file)),
    )


@by_severity('size', (30, 28, 27, 24, 20))
def test_pixelate_goes_through_a_smaller_image(severity, size):
    small = Image.fromarray(photo()).resize((size, size), Image.BOX)
    expected = np.asarray(small.resize((32, 32), Image.BOX))
    assert np.array_equal(corrupted(photo(), 'pixelate', severity), expected)


ELASTIC = [
    (0, 0, 0.08),
    (0.05, 0.2, 0.07),
    (0.08, 0.06, 0.06),
    (0.1, 0.04, 0.05),
    (0.1, 0.03, 0.03),
]


@pytest.mark.parametrize('side', [16, 32])
@by_severity('settings', ELASTIC)
def test_elastic_transforms_stay_within_their_bounds(severity, settings, side):
    """Where pixels come from, as an image of coordinates tells."""
    amplitude, std, shift = settings
    rows, columns = np.mgrid[:side, :side]
    image = np.stack([rows, columns, 0 * rows], -1) / side
    middle = slice(side // 2 - 1, side // 2 + 2)
    moved = []
    for seed in range(20):
        found = ours.elastic_transform(image, rng(seed), *settings)
        offsets = (found - image)[..., :2]
        moved.append(offsets[middle, middle])
    # the affine map moves the centre by the mean of two of its points
    assert np.abs(moved).max() <= 2 * shift + amplitude
    assert np.abs(moved).max() >= 0.4 * shift
    # of uniform noise on [-1, 1], smoothed; without the affine map
    fields = [
        ours.elastic_transform(image, rng(seed), amplitude, std, 0) - image
        for seed in range(40)
    ]
    inner = np.array(fields)[:, 4:-4, 4:-4, :2]
    noise = rng(5).uniform(-1, 1, (400, side, side))
    smooth = gaussian(
        noise, (0, std * side, std * side), mode='reflect', truncate=3
    )
    expected = amplitude * smooth.std() if amplitude else 0
    assert inner.std() == pytest.approx(expected, rel=0.25, abs=1e-4)


def test_elastic_transforms_of_no_strength_change_nothing():
    image = photo(20, 33) / 255
    found = ours.elastic_transform(image, rng(), 0, 0, 0)
    assert np.allclose(found, image)


WATER = [
    (0.62, 0.1, 0.7, 0.7, 0.5),
    (0.65, 0.1, 0.8, 0.7, 0.5),
    (0.65, 0.3, 1, 0.69, 0.5),
]
MUD = [(0.65, 0.1, 0.7, 0.69, 0.6), (0.65, 0.1, 0.5, 0.68, 0.6)]


@pytest.mark.parametrize('severity, settings', zip((1, 2, 3), WATER))
def test_water_adds_pale_turquoise_where_drops_are(severity, settings):
    mean, std, blur, threshold, strength = settings
    black = np.zeros((32, 32, 3), np.uint8)
    wet = 0
    for index in range(30):
        found = corrupt_float(black, 'spatter', severity, index) / 255
        liquid = gaussian(rng(index).normal(mean, std, (32, 32)), blur)
        dry = liquid < threshold
        assert not found[dry].any()
        ratio = found[..., 0] / np.maximum(found[..., 1], 1e-9)
        assert np.allclose(ratio[found[..., 1] > 0], 175 / 238)
        assert found.max() in (0, pytest.approx(strength * 238 / 255))
        wet += found.max() > 0
    assert wet > 5


@pytest.mark.parametrize('severity, settings', zip((4, 5), MUD))
def test_mud_covers_what_is_under_its_splashes(severity, settings):
    mean, std, blur, threshold, smoothing = settings
    colour = np.array([63, 42, 20])
    covered = 0
    for index in range(30):
        found = corrupt_float(grey(200, 32), 'spatter', severity, index)
        liquid = gaussian(rng(index).normal(mean, std, (32, 32)), blur)
        splashes = gaussian((liquid > threshold).astype(float), smoothing)
        share = np.where(splashes < 0.8, 0, splashes)[..., None]
        assert np.allclose(found, (1 - share) * 200 + share * colour)
        covered += (share > 0).mean() / 30
    assert 0 < covered < 0.5


@pytest.mark.parametrize('is_mud', [False, True])
def test_images_no_drop_falls_on_stay_as_they_are(is_mud):
    image = photo(16, 16) / 255
    found = ours.spatter(image, rng(), 0.62, 0.1, 0.7, 2, 0.5, is_mud)
    assert np.array_equal(found, image)
