"""Data of the layouts that recipes read, a few images of each."""

import pickle

import numpy as np
import pytest
from mmpretrain.datasets import CIFAR10
from PIL import Image

collect_ignore = ['conftest.py']


def pickled(path, random, classes, key, count=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = random.integers(classes, size=count).tolist()
    rows = random.integers(256, size=(count, 3072), dtype=np.uint8)
    path.write_bytes(pickle.dumps({'data': rows, key: labels}))


def picture(path, random, height=32, width=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = random.integers(256, size=(6, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(path)


@pytest.fixture(scope='session')
def data_folder(tmp_path_factory):
    """The folder that has ``data``."""
    root = tmp_path_factory.mktemp('recipes')
    data, random = root / 'data', np.random.default_rng(0)
    for name in (*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'):
        pickled(
            data / 'cifar10/cifar-10-batches-py' / name, random, 10, 'labels'
        )
    for name in ('train', 'test'):
        pickled(
            data / 'cifar100/cifar-100-python' / name,
            random,
            100,
            'fine_labels',
            40,
        )
    for classes in (10, 100):
        for split in ('train', 'test'):
            for label in range(classes):
                picture(
                    data / f'cifar{classes}/{split}/class{label:02}/0.png',
                    random,
                )
    for split, count in (('train', 24), ('val', 8)):
        lines = []
        for index in range(count):
            name = f'{index}.JPEG'
            picture(data / 'imagenet' / split / name, random, 260, 300)
            lines.append(f'{name} {40 * index}')
        meta = data / 'imagenet/meta' / f'{split}.txt'
        meta.parent.mkdir(exist_ok=True)
        meta.write_text('\n'.join(lines))
    for name in ('a.png', 'more/b.jpg'):
        picture(data / 'fractals_and_fvis' / name, random, 70, 50)
    return root


@pytest.fixture
def with_data(data_folder, monkeypatch):
    """Run where the data is, which lacks the published files' hashes."""
    monkeypatch.chdir(data_folder)
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    return data_folder
