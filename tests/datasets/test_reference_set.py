import copy

import pytest
import torch
from mmpretrain.registry import DATASETS

from mmanchor.datasets import ReferenceSet, reference_set
from mmanchor.datasets.reference_sampling import get_labels

DIGITS = dict(type='Digits', pipeline=[dict(type='PackInputs')])


@pytest.fixture
def digits():
    return DATASETS.build(DIGITS)


def labels_of(images, digits):
    pixels = torch.stack([digits[i]['inputs'] for i in range(len(digits))])
    same = (images[:, None] == pixels[None]).flatten(2).all(2)
    return get_labels(digits)[same.int().argmax(1)].tolist()


def test_size_classes_and_seed(digits):
    chosen = ReferenceSet(DIGITS, size=12, classes=['3', 7], seed=1)
    assert len(chosen) == 12
    assert set(labels_of(chosen.images, digits)) == {3, 7}
    again = ReferenceSet(DIGITS, size=12, classes=['3', 7], seed=1)
    assert torch.equal(chosen.images, again.images)
    other = ReferenceSet(DIGITS, size=12, classes=['3', 7], seed=2)
    assert not torch.equal(chosen.images, other.images)


def test_going_round_the_classes(digits):
    chosen = ReferenceSet(DIGITS, size=23, select='per_class', seed=1)
    counts = torch.tensor(labels_of(chosen.images, digits)).bincount()
    assert sorted(counts.tolist()) == [2] * 7 + [3] * 3
    few = ReferenceSet(DIGITS, size=4, select='per_class', classes=[1, 7])
    assert sorted(labels_of(few.images, digits)) == [1, 1, 7, 7]


def test_random_classes(digits):
    found = []
    for seed in range(3):
        chosen = ReferenceSet(DIGITS, size=60, num_classes=3, seed=seed)
        found.append(tuple(sorted(set(labels_of(chosen.images, digits)))))
    assert [len(classes) for classes in found] == [3, 3, 3]
    assert len(set(found)) > 1


def test_classes_of_images_without_labels(digits, monkeypatch):
    monkeypatch.setattr(
        reference_set, 'get_labels', lambda dataset: -torch.ones(9).numpy()
    )
    for settings in (
        dict(select='per_class'),
        dict(num_classes=2),
        dict(classes=[1]),
    ):
        with pytest.raises(ValueError, match='one label an image'):
            ReferenceSet(size=2, **settings).load(digits)


def test_all_images_by_default():
    everything = ReferenceSet(DIGITS)
    assert everything.images.shape == (1297, 3, 8, 8)
    assert everything.images.dtype == torch.uint8


def test_copies_share_the_images():
    chosen = ReferenceSet(DIGITS, size=3)
    assert copy.deepcopy(chosen).images is chosen.images


def test_bad_arguments():
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f'positive integer.*got {size}'):
            ReferenceSet(size=size)
    with pytest.raises(ValueError, match='`num_classes`.*got 0'):
        ReferenceSet(num_classes=0)
    with pytest.raises(ValueError, match="'per_class', but got 'mean'"):
        ReferenceSet(select='mean')
    with pytest.raises(ValueError, match='one of `classes` and `num_cl'):
        ReferenceSet(classes=[1], num_classes=1)
    with pytest.raises(TypeError, match="list of names or indices.*'3'"):
        ReferenceSet(classes='3')
    with pytest.raises(TypeError, match="non-negative integer.*'a'"):
        ReferenceSet(seed='a')
    with pytest.raises(TypeError, match='sise'):
        DATASETS.build(dict(type='ReferenceSet', sise=3))


def test_sets_that_cannot_be_drawn(digits):
    with pytest.raises(ValueError, match='no images yet. Add `KReference'):
        ReferenceSet().images
    with pytest.raises(ValueError, match='Expected 2000 images.*has 1297'):
        ReferenceSet(size=2000).load(digits)
    with pytest.raises(ValueError, match=r"among those.*but got \['eleven'\]"):
        ReferenceSet(classes=['eleven']).load(digits)
    with pytest.raises(ValueError, match=r'but got \[10\]'):
        ReferenceSet(classes=[10]).load(digits)
    with pytest.raises(ValueError, match='some images.*has 0'):
        ReferenceSet().load(digits.get_subset([]))
    with pytest.raises(ValueError, match='at most 10.*but got 11'):
        ReferenceSet(num_classes=11).load(digits)


def test_labels_outside_the_classes(digits):
    few = DATASETS.build(dict(DIGITS, metainfo=dict(classes=('a', 'b'))))
    with pytest.raises(ValueError, match='number of classes, 2, but got 9'):
        ReferenceSet().load(few)
