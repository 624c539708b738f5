import io

import pytest
import torch
from helpers.builders import build_model, image_bytes

from mmanchor.models import ReferenceBank


def test_bank_travels_as_bytes_and_takes_any_size():
    saved, loaded = ReferenceBank(), ReferenceBank()
    saved.fill(image_bytes(4, 8))
    loaded.fill(image_bytes(2, 16, seed=1))
    loaded.use(2)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded.images, saved.images)
    assert loaded.images.dtype == torch.uint8
    assert len(loaded.in_use) == 4


def test_a_checkpoint_without_bank_leaves_it():
    bank = ReferenceBank()
    bank.fill(image_bytes(4))
    bank.load_state_dict({}, strict=True)
    assert len(bank) == 4


def test_using_the_first_k():
    bank = ReferenceBank()
    bank.fill(image_bytes(4))
    bank.use(2)
    assert torch.equal(bank.in_use, bank.images[:2])
    assert 'num_references=2' in repr(bank)
    for wrong in (0, 5, -1):
        with pytest.raises(ValueError, match=rf'in \[1, 4\].*got {wrong}'):
            bank.use(wrong)


def test_an_empty_bank_says_what_to_add():
    with pytest.raises(ValueError, match='no reference bank. Add `KRef'):
        ReferenceBank().in_use
    with pytest.raises(ValueError, match=r'K >= 1, but got \(0, 3, 8, 8\)'):
        ReferenceBank().fill(image_bytes(0, 8))


def test_a_bank_filled_with_some_images_saves_no_others():
    images = image_bytes(50, size=8)
    bank = ReferenceBank()
    bank.fill(images[:2])
    bank.fill_residuals(images[10:14].unflatten(0, (2, 2)))
    saved = io.BytesIO()
    torch.save(bank.state_dict(), saved)
    assert images[11].numpy().tobytes() in saved.getvalue()
    assert images[40].numpy().tobytes() not in saved.getvalue()


def test_residuals_of_another_bank_are_let_go_of():
    images = image_bytes(8, size=8)
    bank, other = ReferenceBank(), ReferenceBank()
    bank.fill_residuals(images.unflatten(0, (4, 2)))
    other.fill(images[:1])
    bank.load_state_dict(other.state_dict())
    saved = io.BytesIO()
    torch.save(bank, saved)
    assert images[5].numpy().tobytes() not in saved.getvalue()


def test_a_model_can_be_made_channels_last():
    model = build_model().eval()
    model.reference_bank.fill(image_bytes(2))
    pairs = image_bytes(6, seed=1).unflatten(0, (3, 2))
    for residuals in (None, pairs):  # without and with
        if residuals is not None:
            model.reference_bank.fill_residuals(residuals)
        images = torch.rand(4, 3, 16, 16)
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        got = model(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        model.to(memory_format=torch.contiguous_format)
    assert torch.equal(model.reference_bank.residual_pairs, pairs)
