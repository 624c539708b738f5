import pytest
import torch

from mmanchor.export.compare import (
    check_difference,
    comparison_images,
    relative_difference,
)

REFERENCES = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)


def test_images_come_from_all_over_the_test_set(small_config):
    images, which = comparison_images(small_config(), REFERENCES)
    assert which == '5 images of the test set'
    assert images.shape == (5, 3, 16, 16) and images.dtype == torch.uint8
    assert len(torch.unique(images, dim=0)) == 5
    few, which = comparison_images(
        small_config(**{'test_dataloader.dataset.indices': 2}), REFERENCES
    )
    assert torch.equal(few[0], images[0]) and which.startswith('2 images')


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_noise_where_the_test_set_is_not_there(small_config, dtype, tmp_path):
    cfg = small_config()
    cfg.test_dataloader.dataset = dict(
        type='CustomDataset', data_root=str(tmp_path / 'gone')
    )
    images, which = comparison_images(cfg, REFERENCES.to(dtype))
    assert images.shape == (5, 3, 16, 16) and images.dtype == dtype
    assert len(torch.unique(images, dim=0)) == 5
    assert which.startswith("5 images of noise, because the test set can't")
    assert 'gone' in which


def test_test_images_of_another_size_are_refused(small_config):
    with pytest.raises(
        ValueError, match=r'\(3, 20, 20\), but got \(3, 16, 16\). Let'
    ):
        comparison_images(
            small_config(), torch.zeros(1, 3, 20, 20, dtype=torch.uint8)
        )


def test_nan_and_another_shape_differ_without_bounds():
    images = torch.ones(3, 1, 1, 2)
    expected = images.flatten(1)
    for other in (expected * float('nan'), expected[:, :1]):
        assert relative_difference(
            lambda x, y=other: y, expected, images, 3
        ) == float('inf')
    assert (
        relative_difference(lambda x: x.flatten(1), expected, images, 2) == 0
    )


@pytest.mark.parametrize('found', [2e-4, float('inf'), float('nan')])
def test_a_form_that_predicts_differently_is_refused(found):
    check_difference(9e-5, 'a file')
    with pytest.raises(ValueError, match='a file to answer .* Nothing was wr'):
        check_difference(found, 'a file')
