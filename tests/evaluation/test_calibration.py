import numpy as np
import pytest
import torch
from mmpretrain.registry import METRICS

from mmanchor.evaluation import calibration_error


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
        max=gaps.max())[norm]


@pytest.mark.parametrize('norm', ['l1', 'l2', 'max'])
@pytest.mark.parametrize('num_bins', [10, 15])
def test_agrees_with_an_independent_implementation(norm, num_bins):
    scores = (4 * torch.randn(500, 10)).softmax(1)
    labels = torch.randint(10, (500, ))
    assert calibration_error(scores, labels, num_bins, norm) == pytest.approx(
        by_numpy(scores, labels, num_bins, norm), abs=1e-6)


def test_a_confidence_of_one_shares_the_last_bin():
    scores = torch.tensor([[1., 0.], [0.95, 0.05]])
    # one bin: accuracy 1/2, confidence 0.975
    assert calibration_error(
        scores, torch.tensor([1, 0]), num_bins=10) == pytest.approx(0.475)


def test_metric_is_the_function_on_all_images():
    metric = METRICS.build(
        dict(type='CalibrationError', norms=('l1', 'l2', 'max')))
    scores = (4 * torch.randn(60, 10)).softmax(1)
    labels = torch.randint(10, (60, ))
    for part in torch.arange(60).split(25):
        metric.process({}, [
            dict(pred_score=scores[i], gt_label=labels[i:i + 1]) for i in part
        ])
    found = metric.evaluate(60)
    assert found == {
        'calibration/ece': calibration_error(scores, labels),
        'calibration/rmsce': calibration_error(scores, labels, norm='l2'),
        'calibration/mce': calibration_error(scores, labels, norm='max'),
    }


def test_bad_norms():
    with pytest.raises(ValueError, match=r"some of .*'l1'.*but got \['l3'\]"):
        METRICS.build(dict(type='CalibrationError', norms=['l3']))


def test_missing_torchmetrics_names_the_extra(without_package):
    without_package('torchmetrics')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[eval\]"'):
        METRICS.build(dict(type='CalibrationError'))  # before training
