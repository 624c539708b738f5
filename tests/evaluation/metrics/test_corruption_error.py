import math

import pytest

from mmanchor.datasets import ALL_C_KINDS, C_KINDS
from mmanchor.evaluation import ALEXNET_ERRORS, mean_corruption_error

# AlexNet's at each severity, from issue 10 of hendrycks/robustness
BY_SEVERITY = dict(
    gaussian_noise=(.69528, .82542, .93554, .98138, .99452),
    shot_noise=(.71224, .85108, .93574, .98182, .99146),
    impulse_noise=(.78374, .89808, .9487, .9872, .99548),
    defocus_blur=(.65624, .73202, .85036, .91364, .94714),
    glass_blur=(.64308, .75054, .88806, .91622, .93344),
    motion_blur=(.5843, .70048, .82108, .8975, .92638),
    zoom_blur=(.70008, .76992, .80784, .84198, .87198),
    snow=(.71726, .88392, .86468, .9187, .94952),
    frost=(.6139, .79734, .8879, .89942, .9343),
    fog=(.67474, .7605, .84378, .8726, .945),
    brightness=(.4514, .48502, .54048, .62166, .7244),
    contrast=(.64548, .7615, .88874, .9776, .9927),
    elastic_transform=(.52596, .70116, .55686, .64076, .80554),
    pixelate=(.52218, .5462, .73728, .87092, .91262),
    jpeg_compression=(.51002, .54718, .57294, .65458, .74778))

# of torchvision's ResNet-50, as Rusak et al. (ECCV 2020) measured them
RESNET_50_ACCURACIES = dict(
    brightness=68.02,
    contrast=39.06,
    defocus_blur=38.75,
    elastic_transform=45.25,
    fog=45.83,
    frost=38.14,
    gaussian_noise=29.29,
    glass_blur=26.79,
    impulse_noise=23.81,
    jpeg_compression=53.41,
    motion_blur=38.67,
    pixelate=44.79,
    shot_noise=27.03,
    snow=32.53,
    zoom_blur=36.24)


def test_the_constants_are_means_over_five_severities():
    assert tuple(ALEXNET_ERRORS) == ALL_C_KINDS
    assert tuple(BY_SEVERITY) == C_KINDS
    for kind, errors in BY_SEVERITY.items():
        assert ALEXNET_ERRORS[kind] == pytest.approx(100 * sum(errors) / 5)


def test_by_hand():
    assert mean_corruption_error(ALEXNET_ERRORS) == pytest.approx(100)
    half = {kind: error / 2 for kind, error in ALEXNET_ERRORS.items()}
    assert mean_corruption_error(half) == pytest.approx(50)
    # one kind of fifteen without an error
    assert mean_corruption_error(dict(ALEXNET_ERRORS, fog=0)) == (
        pytest.approx(100 * 14 / 15))
    assert mean_corruption_error(dict.fromkeys(C_KINDS, 0)) == 0


def test_the_published_number_of_resnet_50():
    errors = {k: 100 - right for k, right in RESNET_50_ACCURACIES.items()}
    assert mean_corruption_error(errors) == pytest.approx(76.70, abs=.005)


def test_extra_kinds_are_ignored():
    errors = dict(ALEXNET_ERRORS, speckle_noise=0., lines=math.nan)
    assert mean_corruption_error(errors) == pytest.approx(100)


def test_missing_kinds_are_refused():
    errors = dict(ALEXNET_ERRORS)
    del errors['fog'], errors['snow'], errors['spatter']
    with pytest.raises(
            ValueError,
            match='all 15 kinds of corruption, but got none of snow, fog. '
            'Change to a test of these too'):
        mean_corruption_error(errors)


@pytest.mark.parametrize('error', [-1, 100.5, math.nan])
def test_impossible_errors_are_refused(error):
    with pytest.raises(
            ValueError, match=f'0 to 100 %, but got {error} of fog. Change'):
        mean_corruption_error(dict(ALEXNET_ERRORS, fog=error))
