import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from mmanchor.datasets import SeededGaussianNoise


def split(name):
    return DATASETS.build(dict(type='Digits', split=name, pipeline=[]))


def test_the_split_is_stratified_and_disjoint():
    train, test = split('train'), split('test')
    assert (len(train), len(test)) == (1297, 500)
    for dataset in (train, test):
        counts = np.bincount(
            [dataset[i]['gt_label'] for i in range(len(dataset))]
        )
        assert counts.min() > 0.09 * len(dataset)
        image = dataset[0]['img']
        assert image.shape == (8, 8, 3) and image.dtype == np.uint8
        assert image.max() > 200
    assert train.metainfo['classes'][7] == '7'
    known = {train[i]['img'].tobytes() for i in range(len(train))}
    repeated = sum(test[i]['img'].tobytes() in known for i in range(500))
    assert repeated == 0


def test_bad_split():
    with pytest.raises(ValueError, match="'train' or 'test', but got 'val'"):
        split('val')


def test_missing_scikit_learn_names_the_extra(without_package):
    without_package('sklearn')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[demo\]"'):
        split('train')


def test_noise_is_that_of_the_image_and_seed():
    image = np.full((64, 64, 3), 128, np.uint8)

    def noisy(index, **kwargs):
        transform = SeededGaussianNoise(std=10, **kwargs)
        return transform(dict(img=image.copy(), sample_idx=index))['img']

    assert np.array_equal(noisy(3), noisy(3))
    assert not np.array_equal(noisy(3), noisy(4))
    assert not np.array_equal(noisy(3), noisy(3, seed=1))
    assert noisy(3).dtype == np.uint8
    assert abs(noisy(3).astype(float).std() - 10) < 0.5
    assert 'std=10' in repr(SeededGaussianNoise(10))
    with pytest.raises(ValueError, match='at least 0 grey levels.*-1'):
        SeededGaussianNoise(-1)
