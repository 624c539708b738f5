import cv2
import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_sample_images


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


@pytest.mark.parametrize('name', ['Digits', 'PhotoPatches'])
def test_missing_scikit_learn_names_the_extra(name, without_package):
    without_package('sklearn')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[demo\]"'):
        DATASETS.build(dict(type=name))


def build(**kwargs):
    return DATASETS.build(dict(type='PhotoPatches', **kwargs))


def images_of(dataset):
    return np.stack([dataset[i]['img'] for i in range(len(dataset))])


def test_patches_are_grey_squares_of_no_class():
    dataset = build()
    images = images_of(dataset)
    assert images.shape == (500, 16, 16, 3) and images.dtype == np.uint8
    assert np.array_equal(images[..., 0], images[..., 1])
    assert np.array_equal(images[..., 0], images[..., 2])
    assert set(dataset.get_gt_labels()) == {-1}


@pytest.mark.parametrize('size', [1, 24, 427])
def test_patches_are_cut_from_the_photographs(size):
    images = images_of(build(size=size, count=4))
    assert images.shape == (4, size, size, 3)
    photos = [
        np.rint(photo.mean(-1)).astype(np.uint8)
        for photo in load_sample_images().images
    ]
    for i in range(4):  # one photograph after the other
        photo, image = photos[i % 2], images[i, ..., 0]
        error = cv2.matchTemplate(photo, image, cv2.TM_SQDIFF)
        top, left = np.unravel_index(error.argmin(), error.shape)
        cut = photo[top : top + size, left : left + size]
        assert np.array_equal(cut, image)


def test_a_seed_says_where():
    one, same, other = (
        images_of(build(count=20, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(one[:5], images_of(build(count=5, seed=1)))
    assert len({image.tobytes() for image in one}) == 20


def test_it_is_a_data_set_of_the_host_s():
    dataset = build(
        count=6, indices=4, pipeline=[dict(type='PackInputs')], size=8
    )
    assert len(dataset) == 4
    assert dataset[3]['inputs'].shape == (3, 8, 8)
    assert dataset[3]['data_samples'].gt_label.item() == -1


@pytest.mark.parametrize(
    'name, value',
    [('size', 0), ('size', 428), ('count', 0), ('count', 10**6 + 1)],
)
def test_sizes_out_of_range(name, value):
    expected = f'`{name}` to be from 1 to .*, but got {value}'
    with pytest.raises(ValueError, match=expected):
        build(**{name: value})
