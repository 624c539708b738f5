import math

import numpy as np
import pytest
import torch

from mmanchor.functional import (
    RowMask,
    anchor,
    anchor_batch,
    blank_references,
    crop_pixels,
    crop_size,
    draw_crops,
    draw_mask,
)


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_mask_probability_of_zero_and_one(mask_by):
    for seed in range(50):
        never, always = (
            draw_mask(8, prob, mask_by, np.random.default_rng(seed))
            for prob in (0.0, 1.0)
        )
        assert not never.any() and always.all()


def test_mask_probability_of_one_has_no_gap():

    class Edge:
        def random(self, count):
            return np.full(count, np.nextafter(1, 0))

    assert draw_mask(4, 1.0, 'sample', Edge()).all()


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_masks_come_as_often_as_asked(mask_by):
    rng = np.random.default_rng(0)
    masks = np.stack([draw_mask(4, 0.25, mask_by, rng) for _ in range(4000)])
    assert abs(masks.mean() - 0.25) < 0.03
    whole_batches = (masks.all(1) | ~masks.any(1)).mean()
    assert whole_batches == 1 if mask_by == 'batch' else whole_batches < 0.5


def test_masking_blanks_the_reference_only():
    x, r = torch.randn(2, 3, 3, 4, 4)
    r[1, 0, 0, 0] = math.inf
    anchored = anchor(x, r)
    blanked = blank_references(anchored, torch.tensor([False, True, True]))
    assert torch.equal(blanked[0], anchored[0])
    assert torch.equal(blanked[1:, :3], torch.zeros(2, 3, 4, 4))
    assert torch.equal(blanked[:, 3:], anchored[:, 3:])


def test_a_crop_has_its_share_of_the_area_and_the_limits_are_exact():
    assert crop_size((16, 32), 0) == (0, 0)
    assert crop_size((16, 32), 1) == (16, 32)
    assert crop_size((16, 32), 0.25) == (8, 16)
    assert crop_size((16, 32), 1e-9) == (1, 1)
    generator = np.random.default_rng(0)
    corners = torch.from_numpy(draw_crops(200, (16, 32), 0.25, generator))
    pixels = crop_pixels(corners, (16, 32), 0.25)
    assert pixels.shape == (200, 1, 16, 32)
    assert pixels.sum((1, 2, 3)).eq(8 * 16).all()
    for row, (top, left) in zip(pixels, corners.tolist()):
        assert row[0, top : top + 8, left : left + 16].all()
    # every place is drawn
    assert corners.amin(0).tolist() == [0, 0]
    assert corners.amax(0).tolist() == [8, 16]


@pytest.mark.parametrize('rows', [[True] * 4, [False, True, False, True]])
@pytest.mark.parametrize('requires_grad', [False, True])
def test_partial_masks_leave_a_crop_of_masked_references(rows, requires_grad):
    x, r = torch.randn(2, 4, 3, 8, 8)
    x.requires_grad_(requires_grad)
    mask = RowMask(rows)
    corners = draw_crops(4, (8, 8), 0.25, np.random.default_rng(0))
    keep = crop_pixels(torch.from_numpy(corners), (8, 8), 0.25)
    found = anchor_batch(x, r, None, mask, keep=keep[rows])
    by_hand = anchor(x, r)
    for row in np.flatnonzero(rows):
        blank = ~keep[row, 0]
        by_hand[row, :3, blank] = 0
    assert torch.equal(found, by_hand)
    expected = blank_references(anchor(x, r), torch.tensor(rows), keep)
    assert torch.equal(found, expected)


@pytest.mark.parametrize('share', [0, 1])
def test_partial_masks_of_share_0_and_1_are_a_mask_and_none(share):
    anchored = anchor(*torch.randn(2, 4, 3, 8, 8))
    mask = torch.tensor([True, True, False, True])
    corners = draw_crops(4, (8, 8), share, np.random.default_rng(0))
    keep = crop_pixels(torch.from_numpy(corners), (8, 8), share)
    expected = anchored if share else blank_references(anchored, mask)
    assert torch.equal(blank_references(anchored, mask, keep), expected)
