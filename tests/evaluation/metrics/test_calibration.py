import numpy as np
import pytest
import torch
from mmpretrain.registry import METRICS
from scipy.optimize import brentq

from mmanchor.evaluation import calibration_error, smoothed_calibration_error


def by_numpy(scores, labels, num_bins, norm):
    """An independent implementation."""
    scores, labels = scores.double().numpy(), labels.numpy()
    confidence = scores.max(1)
    right = scores.argmax(1) == labels
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gaps, shares = [], []
    for b in np.unique(bins):
        inside = bins == b
        gaps.append(abs(right[inside].mean() - confidence[inside].mean()))
        shares.append(inside.mean())
    gaps, shares = np.array(gaps), np.array(shares)
    return dict(
        l1=(gaps * shares).sum(),
        l2=np.sqrt((gaps**2 * shares).sum()),
        max=gaps.max(),
    )[norm]


@pytest.mark.parametrize(
    'norm,num_bins', [('l1', 15), ('l2', 15), ('max', 10)]
)
def test_agrees_with_an_independent_implementation(norm, num_bins):
    scores = (4 * torch.randn(500, 10)).softmax(1)
    labels = torch.randint(10, (500,))
    assert calibration_error(scores, labels, num_bins, norm) == pytest.approx(
        by_numpy(scores, labels, num_bins, norm), abs=1e-6
    )


def smoothed_by_images(confidence, right, points=2000):
    """smECE from its definition: Gaussians, and their mirror images."""
    ends = (np.arange(points) + 0.5) / points
    mirrored = [
        sign * confidence + 2 * shift
        for sign in (1, -1)
        for shift in range(-3, 4)
    ]

    def left(width):
        kernel = sum(
            np.exp(-(((ends[:, None] - place) / width) ** 2) / 2)
            for place in mirrored
        ) / (width * np.sqrt(2 * np.pi))
        smoothed = kernel @ (right - confidence) / len(right)
        return np.abs(smoothed).mean() - width

    return brentq(left, 2e-3, 1.01)


def binary(confidence, right):
    """Scores of two classes, the first of which is the answer."""
    confidence = torch.as_tensor(confidence)
    return (
        torch.stack([confidence, 1 - confidence], 1),
        torch.as_tensor(~right).long(),
    )


def smoothed_by_us(confidence, right):
    return smoothed_calibration_error(*binary(confidence, right))


@pytest.mark.parametrize('gap', [0, 0.05, 0.4])
def test_smoothed_error_is_the_definition(gap):
    rng = np.random.default_rng(0)
    confidence = 0.5 + 0.5 * rng.beta(4, 1, 200)
    right = rng.random(200) < confidence - gap
    expected = smoothed_by_images(confidence, right)
    assert expected == pytest.approx(gap, abs=0.05)
    found = smoothed_by_us(confidence, right)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('low, high', [(0.1, 0.1), (0.3, 0.5), (-0.1, 0.2)])
def test_smoothed_error_where_confidence_is_wrong_both_ways(low, high):
    rng = np.random.default_rng(0)
    confidence = np.r_[rng.uniform(0.5, 0.65, 100), rng.uniform(0.85, 1, 100)]
    share = np.r_[confidence[:100] + low, confidence[100:] - high]
    right = rng.random(200) < share
    assert smoothed_by_us(confidence, right) == pytest.approx(
        smoothed_by_images(confidence, right), abs=1e-6
    )


@pytest.mark.parametrize(
    'confidence, right',
    [
        ([0.6, 0.9], [True, False]),
        ([0.5, 1.0, 1.0, 0.5, 0.75], [True, True, False, False, True]),
        ([0.5, 1.0], [False, False]),
        ([0.7], [True]),
        ([1.0], [False]),
        ([1 - 1e-12, 0.5], [True, True]),
    ],
)
def test_smoothed_error_of_few_images(confidence, right):
    confidence, right = np.array(confidence), np.array(right)
    assert smoothed_by_us(confidence, right) == pytest.approx(
        smoothed_by_images(confidence, right), abs=1e-6
    )


def test_smoothed_error_of_both_signs_is_less_than_relplots():
    confidence, right = np.array([0.6, 0.9]), np.array([True, False])
    # relplot 1.0.3, which cuts its Gaussian off, has 0.348
    assert smoothed_by_us(confidence, right) == pytest.approx(0.3001, abs=1e-4)


@pytest.mark.parametrize(
    'gap, by_relplot', [(0, 0.01255), (0.02, 0.01815), (0.1, 0.10090)]
)
def test_smoothed_error_agrees_with_relplot_where_that_is_right(
    gap, by_relplot
):
    # recorded with relplot 1.0.3, the authors' implementation
    rng = np.random.default_rng(0)
    confidence = 0.5 + 0.5 * rng.beta(4, 1, 3000)
    right = rng.random(3000) < confidence - gap
    assert smoothed_by_us(confidence, right) == pytest.approx(
        by_relplot, abs=2e-3
    )


def test_smoothed_error_by_hand():
    always = torch.tensor([[0.8, 0.2]] * 100)
    half = torch.arange(100) % 2
    # everything is in one place, so that smoothing changes nothing
    assert smoothed_calibration_error(always, half) == pytest.approx(0.3)
    certain = torch.eye(2)
    assert smoothed_calibration_error(certain, torch.tensor([0, 1])) == 0
    wrong = smoothed_calibration_error(certain, torch.tensor([1, 0]))
    assert wrong == pytest.approx(1)
    # what is too high and too low in the same place cancels out
    half = torch.full((4, 2), 0.5)
    assert smoothed_calibration_error(half, torch.arange(4) % 2) < 1e-9


@pytest.mark.parametrize('size', [1e-2, 1e-3, 1e-5])
def test_smoothed_errors_of_less_than_a_cell(size):
    # all too low, so that smoothing changes nothing
    confidence = 1 - 2 * size * torch.rand(500).double().numpy()
    assert smoothed_by_us(confidence, np.full(500, True)) == pytest.approx(
        (1 - confidence).mean(), rel=0.02
    )


def test_a_thousand_classes_perfectly_calibrated_and_not():
    scores = (4 * torch.randn(30_000, 1000)).softmax(1)
    labels = torch.multinomial(scores, 1)[:, 0]
    assert calibration_error(scores, labels) < 0.01
    assert smoothed_calibration_error(scores, labels) < 0.01
    of_batches = [
        calibration_error(scores[rows], labels[rows])
        for rows in torch.arange(6400).split(64)
    ]
    assert np.mean(of_batches) > 0.1  # what an average over batches would say
    # a fifth of the labels made wrong takes a fifth off every accuracy
    flipped = torch.rand(30_000) < 0.2
    labels[flipped] = scores[flipped].argmin(1)
    expected = pytest.approx(0.2 * scores.amax(1).mean().item(), abs=0.01)
    assert calibration_error(scores, labels) == expected
    assert smoothed_calibration_error(scores, labels) == expected


def test_a_confidence_of_one_shares_the_last_bin():
    scores = torch.tensor([[1.0, 0.0], [0.95, 0.05]])
    # one bin: accuracy 1/2, confidence 0.975
    assert calibration_error(
        scores, torch.tensor([1, 0]), num_bins=10
    ) == pytest.approx(0.475)


def test_metrics_are_the_functions_on_all_images():
    scores = (4 * torch.randn(60, 10)).softmax(1)
    labels = torch.randint(10, (60,))
    norms = dict(ece='l1', rmsce='l2', mce='max')
    metrics = [
        METRICS.build(dict(type='CalibrationError', norms=[*norms.values()])),
        METRICS.build(dict(type='SmoothedCalibrationError')),
    ]
    found = {}
    for metric in metrics:
        for part in torch.arange(60).split(25):
            samples = [
                dict(pred_score=scores[i], gt_label=labels[i : i + 1])
                for i in part
            ]
            metric.process({}, samples)
        found.update(metric.evaluate(60))
    assert found == {
        'calibration/smooth_ece': smoothed_calibration_error(scores, labels),
        **{
            f'calibration/{name}': calibration_error(scores, labels, norm=norm)
            for name, norm in norms.items()
        },
    }


@pytest.mark.parametrize(
    'function', [calibration_error, smoothed_calibration_error]
)
def test_functions_refuse_what_metrics_refuse(function):
    scores, labels = torch.full((2, 3), 1 / 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match='NaN or infinity for 1 of 2 images'):
        function(scores.clone().index_fill_(0, labels[:1], np.nan), labels)
    with pytest.raises(ValueError, match='labels from 0 to 2, but got 3'):
        function(scores, labels + 2)
    with pytest.raises(ValueError, match='one image or more, but got none'):
        function(scores[:0], labels[:0])


def test_bad_norms():
    with pytest.raises(ValueError, match=r"some of .*'l1'.*but got \['l3'\]"):
        METRICS.build(dict(type='CalibrationError', norms=['l3']))


def test_missing_torchmetrics_names_the_extra(without_package):
    without_package('torchmetrics')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[eval\]"'):
        METRICS.build(dict(type='CalibrationError'))  # before training
