import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from mmanchor.datasets import (
    draw_images,
    mean_image,
    select_indices,
    with_pipeline,
)
from mmanchor.datasets.reference_sampling import (
    AnnotatedSubset,
    get_labels,
    stack_images,
)

PACK = [dict(type='PackInputs')]
RESIZED = [dict(type='Resize', scale=12), dict(type='PackInputs')]


@pytest.fixture
def digits():
    return DATASETS.build(dict(type='Digits', pipeline=PACK))


def test_choices_are_nested_and_seeded(digits):
    ten = select_indices(digits, 10, 'random', seed=0)
    assert len(set(ten)) == 10
    assert np.array_equal(ten[:3], select_indices(digits, 3, 'random', 0))
    assert not np.array_equal(ten, select_indices(digits, 10, 'random', 1))


def test_per_class_goes_round_the_classes(digits):
    chosen = get_labels(digits)[select_indices(digits, 30, 'per_class', 0)]
    for turn in np.split(chosen, 3):
        assert sorted(turn) == list(range(10))


def test_drawn_images_are_the_dataset_s_bytes(digits):
    images = draw_images(digits, 4, 'random', seed=3)
    assert images.dtype == torch.uint8
    indices = select_indices(digits, 4, 'random', seed=3)
    for image, index in zip(images, indices, strict=True):
        assert torch.equal(image, digits[index]['inputs'])


def test_mean_image(digits):
    pixels = torch.stack([digits[i]['inputs'] for i in range(len(digits))])
    expected = pixels.double().mean(0).round().to(torch.uint8)
    assert torch.equal(mean_image(digits), expected[None])
    assert torch.equal(draw_images(digits, 1, 'mean', 0), expected[None])


@pytest.mark.parametrize(
    'wrap',
    [
        lambda d: d,
        lambda d: RepeatDataset(d, 2),
        lambda d: ConcatDataset([d, d]),
    ],
)
def test_another_pipeline_through_wrappers(digits, wrap):
    wrapped = wrap(digits)
    view = with_pipeline(wrapped, RESIZED)
    assert len(view) == len(wrapped)
    assert view[len(view) - 1]['inputs'].shape == (3, 12, 12)
    assert wrapped[0]['inputs'].shape == (3, 8, 8)  # the original is left
    assert len(get_labels(view)) == len(view)


class Given(list):
    data_root = 'there'

    def get_data_info(self, index):
        return {}


def test_bad_sources(digits):
    with pytest.raises(ValueError, match=r'at most 1297.*Digits.*got 1298'):
        select_indices(digits, 1298, 'random', 0)
    with pytest.raises(ValueError, match=r'Given \(there\) is empty'):
        select_indices(Given(), 1, 'random', 0)
    with pytest.raises(ValueError, match="one label an image.*'random'"):
        select_indices(Given([1, 2]), 1, 'per_class', 0)
    with pytest.raises(TypeError, match='`pipeline`.*got Given'):
        with_pipeline(Given(), PACK)
    broken = DATASETS.build(
        dict(type='Digits', pipeline=[dict(type='LoadImageFromFile'), *PACK])
    )
    with pytest.raises(ValueError, match='image .* of Digits could not be re'):
        draw_images(broken, 1, 'random', 0)
    sizes = Given(dict(inputs=torch.zeros(3, size, size)) for size in (8, 9))
    with pytest.raises(ValueError, match='one size.*Let the test pipeline'):
        draw_images(sizes, 2, 'random', 0)


def test_a_reference_that_can_not_be_read_is_named_by_its_path(tmp_path):
    for name in 'abc':
        (tmp_path / f'{name}.png').write_bytes(b'')
    dataset = CustomDataset(
        data_root=str(tmp_path),
        with_label=False,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )
    subset = AnnotatedSubset(dataset, [2, 0, 1])
    with pytest.raises(ValueError, match='c.png.*could not be read'):
        stack_images(subset, [0])
