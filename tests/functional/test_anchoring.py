import pytest
import torch

from mmanchor.functional import (
    ReferredImages,
    RowMask,
    anchor,
    anchor_batch,
    anchor_to_all,
    fold,
)


def test_reference_and_residual_add_up_to_the_image():
    x, r = torch.randn(2, 4, 3, 5, 6)
    first, second = anchor(x, r).split(3, dim=1)
    assert torch.equal(first, r)
    torch.testing.assert_close(first + second, x)


@pytest.mark.parametrize('of_batch', [False, True])
@pytest.mark.parametrize('requires_grad', [False, True])
def test_augmented_references_are_shown_and_residuals_stay(
    of_batch, requires_grad
):
    x, r, augmented = torch.randn(3, 4, 3, 5, 6)
    x.requires_grad_(requires_grad)
    partners, mask = None, RowMask([False, True, False, False])
    if of_batch:
        r, partners = x, torch.tensor([1, 2, 3, 0])
    first, second = anchor_batch(x, r, partners, mask, augmented).chunk(2, 1)
    if of_batch:
        r, augmented = x[partners], augmented[partners]
    assert torch.equal(second, x - r)
    assert torch.equal(first[1], torch.zeros(3, 5, 6))
    assert torch.equal(first[[0, 2, 3]], augmented[[0, 2, 3]])


@pytest.mark.parametrize('of_batch', [False, True])
def test_features_of_augmented_references_are_shown(of_batch):
    x, r, augmented = torch.randn(3, 4, 3, 5, 6)
    partners = torch.tensor([1, 2, 3, 0])
    references = partners if of_batch else r
    mask = torch.tensor([True, False, False, False])
    inputs = ReferredImages(x, references, mask, augmented)
    # the network's features are the images themselves
    found = inputs.without_images().anchor(inputs.rows())
    if of_batch:
        r = x[partners]
    expected = torch.cat([augmented, x - r], 1)
    expected[0, :3] = 0
    assert torch.equal(found, expected)


def test_anchor_to_all_is_reference_major():
    x, r = torch.randn(3, 2, 4, 4), torch.randn(5, 2, 4, 4)
    rows = anchor_to_all(x, r)
    pairs = [(reference, image) for reference in r for image in x]
    by_loop = torch.stack([torch.cat([r, x - r]) for r, x in pairs])
    assert torch.equal(rows, by_loop)
    assert torch.equal(fold(rows, 5)[4, 2], by_loop[4 * 3 + 2])


def test_references_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'\(4, 3, 8, 8\).*\(4, 3, 6, 6\)'):
        anchor(torch.zeros(4, 3, 8, 8), torch.zeros(4, 3, 6, 6))
    with pytest.raises(ValueError, match=r'\(3, 8, 8\), but got \(3, 6, 6\)'):
        anchor_to_all(torch.zeros(4, 3, 8, 8), torch.zeros(1, 3, 6, 6))
