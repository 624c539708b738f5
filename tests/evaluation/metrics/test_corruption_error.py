import math

import pytest

from mmanchor.datasets import ALL_C_KINDS, C_KINDS
from mmanchor.evaluation import ALEXNET_ERRORS, mean_corruption_error

# AlexNet's at each severity, from issue 10 of hendrycks/robustness
BY_SEVERITY = dict(
    gaussian_noise=(0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    shot_noise=(0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    impulse_noise=(0.78374, 0.89808, 0.9487, 0.9872, 0.99548),
    defocus_blur=(0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    glass_blur=(0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    motion_blur=(0.5843, 0.70048, 0.82108, 0.8975, 0.92638),
    zoom_blur=(0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    snow=(0.71726, 0.88392, 0.86468, 0.9187, 0.94952),
    frost=(0.6139, 0.79734, 0.8879, 0.89942, 0.9343),
    fog=(0.67474, 0.7605, 0.84378, 0.8726, 0.945),
    brightness=(0.4514, 0.48502, 0.54048, 0.62166, 0.7244),
    contrast=(0.64548, 0.7615, 0.88874, 0.9776, 0.9927),
    elastic_transform=(0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    pixelate=(0.52218, 0.5462, 0.73728, 0.87092, 0.91262),
    jpeg_compression=(0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
)

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
    zoom_blur=36.24,
)


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
        pytest.approx(100 * 14 / 15)
    )
    assert mean_corruption_error(dict.fromkeys(C_KINDS, 0)) == 0


def test_the_published_number_of_resnet_50():
    errors = {k: 100 - right for k, right in RESNET_50_ACCURACIES.items()}
    assert mean_corruption_error(errors) == pytest.approx(76.70, abs=0.005)


def test_extra_kinds_are_ignored():
    errors = dict(ALEXNET_ERRORS, speckle_noise=0.0, lines=math.nan)
    assert mean_corruption_error(errors) == pytest.approx(100)


def test_missing_kinds_are_refused():
    errors = dict(ALEXNET_ERRORS)
    del errors['fog'], errors['snow'], errors['spatter']
    with pytest.raises(
        ValueError,
        match='all 15 kinds of corruption, but got none of snow, fog. '
        'Test on these kinds too',
    ):
        mean_corruption_error(errors)


@pytest.mark.parametrize('error', [-1, 100.5, math.nan])
def test_impossible_errors_are_refused(error):
    with pytest.raises(
        ValueError, match=f'0 to 100 %, but got {error} for fog. Give'
    ):
        mean_corruption_error(dict(ALEXNET_ERRORS, fog=error))
