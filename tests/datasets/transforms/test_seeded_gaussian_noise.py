import numpy as np
import pytest

from mmanchor.datasets import SeededGaussianNoise


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
