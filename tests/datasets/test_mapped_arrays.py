import numpy as np
import pytest

from mmanchor.datasets.mapped_arrays import (
    MappedImages,
    open_images,
    open_labels,
)


@pytest.fixture
def images():
    return np.full((20, 32, 32, 3), 7, np.uint8)


@pytest.fixture
def path(tmp_path, images):
    np.save(tmp_path / 'images.npy', images)
    return tmp_path / 'images.npy'


def test_images_stay_on_disk(path, images):
    assert isinstance(open_images(path, 32), np.memmap)
    mapped = MappedImages(path, 32)
    assert len(mapped) == 20 and np.array_equal(mapped[3], images[3])
    assert not isinstance(mapped[3], np.memmap)


@pytest.mark.parametrize('keep', [0, 5, 60, 200, 3000])
def test_files_cut_short(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    for read in (open_images, open_labels):
        with pytest.raises(ValueError, match='whole .npy file, but .*again'):
            read(path)


def test_files_of_objects(path):
    np.save(path, np.array([{}, None]), allow_pickle=True)
    with pytest.raises(ValueError, match='whole .npy file, but .*again'):
        open_images(path)


@pytest.mark.parametrize(
    'change',
    [
        lambda images: images.astype(np.float32),
        lambda images: images[:, :16, :16],
        lambda images: images[..., :1],
        lambda images: images[..., 0],
        lambda images: images.transpose(0, 3, 1, 2),
    ],
)
def test_other_dtypes_and_shapes(path, images, change):
    np.save(path, change(images))
    expected = r'\(N, 32, 32, 3\) in uint8, but got \('
    with pytest.raises(ValueError, match=expected):
        open_images(path, 32)


def test_no_images(path, images):
    np.save(path, images[:0])
    with pytest.raises(ValueError, match='hold images, but got none'):
        open_images(path)


def test_labels_are_no_images(path):
    np.save(path, np.arange(20))
    assert open_labels(path, 20).tolist() == list(range(20))
    with pytest.raises(ValueError, match=r'\(N, H, W, 3\).*but got \(20,\)'):
        open_images(path)
