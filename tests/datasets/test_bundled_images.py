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


def test_missing_scikit_learn_names_the_extra(without_package):
    without_package('sklearn')
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[demo\]"'):
        split('train')


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


@pytest.mark.parametrize('size', [1, 24])
def test_patches_are_cut_from_the_photographs(size):
    images = images_of(build(size=size, count=4))
    assert images.shape == (4, size, size, 3)
    photos = [
        np.rint(photo.mean(-1)).astype(np.uint8)
        for photo in load_sample_images().images
    ]
    for i in range(4):  # one photograph after the other
        places = np.lib.stride_tricks.sliding_window_view(
            photos[i % 2], (size, size)
        )
        assert (places == images[i, ..., 0]).all((-1, -2)).any()


def test_a_patch_may_be_as_high_as_a_photograph():
    images = images_of(build(size=427, count=2))
    assert images.shape == (2, 427, 427, 3)


def test_a_seed_says_where():
    one, same, other = (
        images_of(build(count=20, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert len({image.tobytes() for image in one}) == 20


def test_fewer_are_the_first_of_more():
    assert np.array_equal(
        images_of(build(count=20))[:5], images_of(build(count=5))
    )


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


def test_photographs_come_with_a_library(without_package):
    without_package('sklearn')
    with pytest.raises(ImportError, match='Install it with.*mmanchor.demo'):
        build()
