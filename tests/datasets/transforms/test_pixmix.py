import pickle

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from mmanchor.datasets.transforms.pixmix import (
    MORE_OPERATIONS,
    OPERATIONS,
    MixingImages,
    mix_additively,
    mix_multiplicatively,
)


@pytest.fixture
def mixing_set(tmp_path):
    """Two pictures, one of them in a folder of its own."""
    folder = tmp_path / 'pictures'
    (folder / 'fractals').mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in (('a.png', (50, 40, 3)), ('fractals/b.JPG', (64, 64))):
        picture = random.integers(256, size=shape, dtype=np.uint8)
        Image.fromarray(picture).save(folder / name)
    (folder / 'README.txt').write_text('not a picture')
    return folder


def photo(size=32, seed=0):
    coarse = np.random.default_rng(seed).integers(
        256, size=(4, 4, 3), dtype=np.uint8
    )
    return np.asarray(
        Image.fromarray(coarse).resize((size, size), Image.BICUBIC)
    )


def mixer(folder, **kwargs):
    return TRANSFORMS.build(
        dict(type='PixMix', mixing_set=str(folder), **kwargs)
    )


def mixed(transform, image, seed):
    np.random.seed(seed)
    return transform(dict(img=image.copy()))['img']


def test_images_are_mixed_by_numpy_s_generator(mixing_set):
    transform, image = mixer(mixing_set), photo()
    found = [mixed(transform, image, seed) for seed in range(40)]
    assert {(one.shape, one.dtype) for one in found} == {
        ((32, 32, 3), np.dtype('uint8'))
    }
    # no round and no change: once in ten
    same = sum(np.array_equal(one, image) for one in found)
    assert 1 <= same <= 12
    assert len({one.tobytes() for one in found}) >= 28
    again = [mixed(transform, image, seed) for seed in range(40)]
    assert all(map(np.array_equal, found, again))


def test_no_round_is_the_image_or_a_changed_copy(mixing_set):
    transform, image = mixer(mixing_set, rounds=0), photo()
    same = [
        np.array_equal(mixed(transform, image, seed), image)
        for seed in range(100)
    ]
    assert 35 <= sum(same) <= 65


def test_a_picture_comes_in(tmp_path):
    Image.new('RGB', (40, 40), (255, 0, 0)).save(tmp_path / 'red.png')
    grey = np.full((32, 32, 3), 128, np.uint8)
    for order, red in (('rgb', 0), ('bgr', 2)):
        transform = mixer(tmp_path, channel_order=order, beta=1)
        found = np.mean(
            [mixed(transform, grey, seed) for seed in range(300)],
            axis=(0, 1, 2),
        )
        assert found[red] > found[2 - red] + 3


def test_a_large_beta_stays_near_the_image(mixing_set):
    image = photo()

    def distance(beta):
        transform = mixer(mixing_set, rounds=1, beta=beta, severity=0.01)
        found = [mixed(transform, image, seed) for seed in range(200)]
        return np.median(
            [abs(one - image.astype(float)).mean() for one in found]
        )

    assert distance(1000) < distance(3) / 3


@pytest.mark.parametrize('name', [*OPERATIONS, *MORE_OPERATIONS])
def test_operations_grow_with_their_strength(name):
    operation = {**OPERATIONS, **MORE_OPERATIONS}[name]
    image = Image.fromarray(photo() // 2 + 20)
    distances = []
    for strength in (0.02, 1):
        changed = operation(image, strength, 1)
        assert changed.size == image.size and changed.mode == 'RGB'
        distances.append(
            abs(np.asarray(changed, float) - np.asarray(image)).mean()
        )
    assert distances[1] > 0
    if name not in ('autocontrast', 'equalize', *MORE_OPERATIONS):
        assert distances[0] < distances[1]


def test_operations_go_both_ways():
    image = Image.fromarray(photo())
    for name in ('rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'):
        one, other = (OPERATIONS[name](image, 0.5, sign) for sign in (-1, 1))
        assert one.tobytes() != other.tobytes()


def test_mixing_in_numbers():
    image = np.linspace(0, 1, 5)
    for mix in (mix_additively, mix_multiplicatively):
        assert mix(image, image[::-1], (1, 0)) == pytest.approx(image)
        assert mix(image, image[::-1], (0, 1)) == pytest.approx(image[::-1])
        grey = mix(image, np.full(5, 0.5), (1, 0.7))
        assert grey == pytest.approx(image)
        wild = mix(image, image, (1.9, -0.9))
        assert np.isfinite(wild).all() and 0 <= wild.min() <= wild.max() <= 1
    assert mix_additively(image, image, (1, 1))[3] == 1
    assert (
        mix_multiplicatively(np.array([0.25]), np.array([0.25]), (1, 1))
        == 0.125
    )


def test_pictures_are_cropped_from_a_little_more(mixing_set):
    pictures = MixingImages(mixing_set)
    assert len(pictures) == 2
    for height, width in ((32, 32), (60, 20), (100, 200)):
        np.random.seed(0)
        crops = [pictures.draw(height, width) for _ in range(12)]
        assert {(crop.size, crop.mode) for crop in crops} == {
            ((width, height), 'RGB')
        }
        assert len({crop.tobytes() for crop in crops}) > 2


def test_workers_can_be_sent_it(mixing_set):
    transform, image = mixer(mixing_set, all_operations=True), photo()
    copy = pickle.loads(pickle.dumps(transform))
    assert np.array_equal(mixed(copy, image, 3), mixed(transform, image, 3))
    assert 'pictures=2' in repr(copy) and 'operations=13' in repr(copy)


def test_without_its_mixing_set(tmp_path, mixing_set):
    with pytest.raises(
        FileNotFoundError,
        match='folder of pictures.*nowhere is not there. Download',
    ):
        mixer(tmp_path / 'nowhere')
    empty = tmp_path / 'empty'
    empty.mkdir()
    (empty / 'pictures.zip').write_bytes(b'')
    with pytest.raises(ValueError, match='no file that ends in .jpg.*Unpack'):
        mixer(empty)


@pytest.mark.parametrize(
    'arguments,message',
    [
        (
            dict(rounds=-1),
            '`rounds` to be an integer of at least 0, but got -1',
        ),
        (dict(rounds=1.5), 'but got 1.5'),
        (dict(beta=0), '`beta` to be greater than 0, but got 0'),
        (dict(severity=0), r'`severity` to be in \(0, 10\], but got 0'),
        (dict(severity=11), 'but got 11'),
        (dict(channel_order='RGB'), "'bgr' or 'rgb', but got 'RGB'"),
    ],
)
def test_bad_arguments(mixing_set, arguments, message):
    with pytest.raises(ValueError, match=message):
        mixer(mixing_set, **arguments)


@pytest.mark.parametrize(
    'image', [photo().astype(np.float32), photo()[..., 0], photo()[..., :2]]
)
def test_bad_images(mixing_set, image):
    with pytest.raises(ValueError, match=r'\(H, W, 3\) in uint8, but got'):
        mixer(mixing_set)(dict(img=image))
