from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
from imagecorruptions import corruption_dict
from PIL import Image

from mmanchor.datasets import ALL_C_KINDS
from mmanchor.datasets.corruptions import corrupt as corruptions
from mmanchor.datasets.corruptions.corrupt import corrupt

DRAWN = (
    'gaussian_noise',
    'shot_noise',
    'impulse_noise',
    'speckle_noise',
    'glass_blur',
    'motion_blur',
    'snow',
    'frost',
    'fog',
    'elastic_transform',
    'spatter',
)


both_settings = pytest.mark.parametrize('settings', ['imagenet-c', 'cifar-c'])


def photo(height, width, seed=0):
    """A smooth image with some of everything."""
    coarse = np.random.default_rng(seed).integers(
        40, 216, size=(4, 4, 3), dtype=np.uint8
    )
    return np.asarray(
        Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    )


def distance(one, other):
    return np.abs(one.astype(float) - other).mean()


def test_the_library_has_all_kinds():
    assert tuple(corruption_dict) == ALL_C_KINDS


@both_settings
@pytest.mark.parametrize('shape', [(8, 8), (40, 33)])
@pytest.mark.parametrize('kind', ALL_C_KINDS)
def test_every_kind_takes_images_of_any_size(kind, shape, settings):
    image = photo(*shape)
    before = image.copy()
    found = [
        corrupt(image, kind, severity, 0, 3, settings)
        for severity in range(1, 6)
    ]
    assert np.array_equal(image, before)
    assert {(one.shape, one.dtype) for one in found} == {
        (image.shape, np.dtype('uint8'))
    }
    assert len({one.tobytes() for one in found}) > 2


@pytest.mark.parametrize('kind', ALL_C_KINDS)
def test_the_highest_severity_is_seen(kind):
    image = photo(16, 16)
    assert distance(corrupt(image, kind, 5, 0, 3), image) > 1


@pytest.mark.parametrize(
    'kind',
    [
        'gaussian_noise',
        'shot_noise',
        'impulse_noise',
        'speckle_noise',
        'gaussian_blur',
        'defocus_blur',
        'motion_blur',
        'zoom_blur',
        'contrast',
        'brightness',
        'pixelate',
        'jpeg_compression',
    ],
)
def test_severities_get_worse(kind):
    image = photo(32, 32)
    distances = [
        np.mean(
            [distance(corrupt(image, kind, s, 0, i), image) for i in range(9)]
        )
        for s in (1, 3, 5)
    ]
    assert distances == sorted(distances)


@both_settings
@pytest.mark.parametrize('kind', ALL_C_KINDS)
def test_the_result_is_that_of_the_arguments_alone(kind, settings):
    image = photo(32, 32)
    first = corrupt(image, kind, 5, 1, 2, settings)
    corrupt(photo(16, 16), 'fog', 1, settings=settings)
    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    assert np.array_equal(first, corrupt(image, kind, 5, 1, 2, settings))
    assert np.array_equal(state, np.random.get_state()[1])
    others = [
        corrupt(image, kind, 5, 2, 2, settings),
        corrupt(image, kind, 5, 1, 3, settings),
    ]
    same = [np.array_equal(first, other) for other in others]
    assert same == [kind not in DRAWN] * 2


def test_images_no_drop_falls_on_stay_as_they_are():
    image = photo(16, 16)
    spattered = [corrupt(image, 'spatter', 1, 0, i) for i in range(40)]
    dry = [np.array_equal(image, found) for found in spattered]
    assert 0 < sum(dry) < 40
    assert min(found.mean() for found in spattered) > 0.8 * image.mean()


@both_settings
def test_frost_is_blue_rather_than_red(settings):
    image = np.full((32, 32, 3), 60, np.uint8)
    found = np.mean(
        [corrupt(image, 'frost', 5, 0, i, settings) for i in range(20)],
        axis=(0, 1, 2),
    )
    assert found[2] > found[0]


def test_bad_images_and_numbers():
    image = photo(16, 16)
    for wrong in (
        image.astype(float),
        image[..., 0],
        image[:7],
        image[..., :2],
    ):
        with pytest.raises(ValueError, match=r'H and W at least 8.*but got'):
            corrupt(wrong, 'fog', 1)
    with pytest.raises(ValueError, match="but got 'rain'. Change .kind"):
        corrupt(image, 'rain', 1)
    with pytest.raises(ValueError, match='1, 2, 3, 4 or 5, but got 6'):
        corrupt(image, 'fog', 6)
    with pytest.raises(ValueError, match='at least 0, but got -1 and 0'):
        corrupt(image, 'fog', 1, seed=-1)
    with pytest.raises(ValueError, match="cifar-c, but got 'cifar'. Change"):
        corrupt(image, 'fog', 1, settings='cifar')


@both_settings
def test_a_missing_library_names_the_extra(without_package, settings):
    without_package('imagecorruptions')
    expected = r'pip install "mmanchor\[corruptions\]"'
    with pytest.raises(ImportError, match=expected):
        corrupt(photo(16, 16), 'fog', 1, settings=settings)


@pytest.mark.parametrize(
    'package', ['imagecorruptions', 'scipy', 'skimage', 'numba']
)
def test_nothing_of_the_extra_is_needed_before_it_is_used(
    without_package, package
):
    without_package(package)
    spec = spec_from_file_location(
        'mmanchor.datasets.corruptions.again', corruptions.__file__
    )
    again = module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.MIN_SIDE == corruptions.MIN_SIDE
