import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from mmanchor.datasets import (
    SymmetricLabelNoise,
    flip_labels,
    select_indices,
    with_pipeline,
)

PACKED = [dict(type='PackInputs')]


def noisy(rate=0.1, **kwargs):
    return DATASETS.build(
        dict(
            type='SymmetricLabelNoise',
            dataset=dict(type='Digits', pipeline=PACKED),
            rate=rate,
            **kwargs,
        )
    )


def test_the_rate_is_met_and_others_are_equally_likely():
    clean = np.full(40000, 3)
    labels = flip_labels(clean, 5, 0.25)
    counts = np.bincount(labels, minlength=5)
    assert counts[3] == 30000
    others = np.delete(counts, 3)
    # 2,500 each with a standard deviation of 43
    assert abs(others - 2500).max() < 4 * 43
    assert (clean == 3).all()


@pytest.mark.parametrize('rate', [0, 0.005, 0.2, 1])
def test_as_many_flip_as_said(rate):
    clean = np.arange(1000) % 7
    labels = flip_labels(clean, 7, rate)
    assert (labels != clean).sum() == round(1000 * rate)
    assert set(labels) <= set(range(7))


def test_what_flips_is_that_of_the_seed_and_grows_with_the_rate():
    clean = np.arange(1000) % 10
    few, many = (flip_labels(clean, 10, rate, seed=1) for rate in (0.05, 0.2))
    assert np.array_equal(few, flip_labels(clean, 10, 0.05, seed=1))
    assert not np.array_equal(few, flip_labels(clean, 10, 0.05, seed=2))
    flipped = few != clean
    assert np.array_equal(few[flipped], many[flipped])


def test_flips_say_what_pipelines_and_hooks_see():
    dataset, clean = noisy(), noisy(rate=0)
    assert len(clean.flips) == 0
    flips = dataset.flips
    assert len(flips) == round(0.1 * len(dataset)) == 130
    assert (flips[:, 1] != flips[:, 2]).all()
    assert (np.diff(flips[:, 0]) > 0).all()
    for index, true, given in flips[:20]:
        assert int(clean[index]['data_samples'].gt_label) == true
        assert int(dataset[index]['data_samples'].gt_label) == given
        assert dataset.get_data_info(index)['gt_label'] == given
        assert dataset.get_cat_ids(index) == [given]
    kept = np.setdiff1d(np.arange(50), flips[:, 0])
    assert len(kept) > 30
    for index in kept:
        label = clean.get_gt_labels()[index]
        assert int(dataset[index]['data_samples'].gt_label) == label
    changed = dataset.get_gt_labels() != clean.get_gt_labels()
    assert np.array_equal(np.flatnonzero(changed), flips[:, 0])
    assert dataset.metainfo['classes'] == clean.metainfo['classes']
    assert 'rate=0.1, seed=0, flipped=130' in repr(dataset)


def test_what_is_given_stays_as_it_was():
    plain = DATASETS.build(dict(type='Digits', pipeline=PACKED))
    dataset = SymmetricLabelNoise(plain, rate=1)
    assert len(plain.pipeline.transforms) == 1
    assert (
        plain[0]['data_samples'].gt_label
        != dataset[0]['data_samples'].gt_label
    )
    dataset.flips[:] = -1
    dataset.get_gt_labels()[:] = -1
    assert dataset.flips.min() >= 0 and dataset.get_gt_labels().min() >= 0


def test_references_are_drawn_as_from_any_dataset():
    dataset = with_pipeline(noisy(rate=0.5), PACKED)
    chosen = select_indices(dataset, 10, 'per_class', seed=0)
    labels = dataset.get_gt_labels()[chosen]
    assert sorted(labels) == list(range(10))
    assert dataset[chosen[0]]['inputs'].shape == (3, 8, 8)


def test_the_log_says_how_many(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmanchor.datasets.label_noise.print_log',
        lambda message, **_: lines.append(message),
    )
    noisy(rate=0.1, seed=3)
    assert lines == [
        '130 of 1297 labels of Digits were flipped to another class '
        '(rate 0.1, seed 3).'
    ]


@pytest.mark.parametrize('rate', [-0.1, 1.1, 5, float('nan')])
def test_a_rate_outside_0_and_1(rate):
    with pytest.raises(ValueError, match=r'in \[0, 1\], but got .*0\.05'):
        noisy(rate=rate)


def test_bad_arguments():
    with pytest.raises(TypeError, match="`rate` to be a number.*'5%'"):
        noisy(rate='5%')
    with pytest.raises(TypeError, match='non-negative integer, but got -1'):
        noisy(seed=-1)
    with pytest.raises(ValueError, match='at least 2 classes.*but got 1'):
        flip_labels(np.zeros(3, int), 1, 0.5)
    with pytest.raises(
        ValueError, match=r'labels in \[0, 3\), but got 0 to 3'
    ):
        flip_labels(np.arange(4), 3, 0.5)
    wrapped = dict(type='RepeatDataset', dataset=dict(type='Digits'), times=2)
    with pytest.raises(TypeError, match='but got RepeatDataset. Put'):
        DATASETS.build(
            dict(type='SymmetricLabelNoise', dataset=wrapped, rate=0.1)
        )
