import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmanchor.models import ReferenceMaskingLoss

HOST_LOSSES = [
    dict(type='CrossEntropyLoss', loss_weight=0.7),
    dict(type='LabelSmoothLoss', label_smooth_val=0.1, loss_weight=2.0),
    dict(
        type='LabelSmoothLoss',
        label_smooth_val=0.1,
        num_classes=4,
        mode='multi_label',
        use_sigmoid=True,
    ),
]


@pytest.mark.parametrize('loss', HOST_LOSSES)
def test_unmasked_rows_have_the_host_loss(loss):
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    ours, host = ReferenceMaskingLoss(loss), MODELS.build(loss)
    expected = host(logits, labels, avg_factor=6)
    for mask in (None, torch.zeros(6, dtype=torch.bool)):
        assert torch.equal(ours(logits, labels, mask, avg_factor=6), expected)


@pytest.mark.parametrize('loss', HOST_LOSSES)
def test_rows_are_averaged_over_the_batch(loss):
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    mask = torch.tensor([True, False, True, False, False, True])
    host = MODELS.build(loss)
    uniform = torch.full((3, 4), 0.25)
    if 'use_sigmoid' in loss:
        masked = F.binary_cross_entropy_with_logits(
            logits[mask], uniform, reduction='sum'
        )
    else:
        masked = F.cross_entropy(logits[mask], uniform, reduction='sum')
    expected = (
        loss.get('loss_weight', 1.0) * masked
        + 3 * host(logits[~mask], labels[~mask], avg_factor=3)
    ) / 6
    torch.testing.assert_close(
        ReferenceMaskingLoss(loss)(logits, labels, mask), expected
    )


def test_soft_labels():
    logits, soft = torch.randn(4, 5), torch.rand(4, 5).softmax(1)
    mask = torch.tensor([True, False, False, False])
    loss = ReferenceMaskingLoss(dict(type='CrossEntropyLoss', use_soft=True))
    target = torch.cat([torch.full((1, 5), 0.2), soft[1:]])
    torch.testing.assert_close(
        loss(logits, soft, mask, avg_factor=4), F.cross_entropy(logits, target)
    )


def test_weights_of_rows():
    logits, labels = torch.randn(4, 5), torch.arange(4)
    mask = torch.tensor([True, False, True, False])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    loss = ReferenceMaskingLoss()
    one_by_one = [
        loss(logits[i : i + 1], labels[i : i + 1], mask[i : i + 1])
        for i in range(4)
    ]
    torch.testing.assert_close(
        loss(logits, labels, mask, weight=weight),
        sum(w * row for w, row in zip(weight, one_by_one)) / 4,
    )


class AveragesByItself(torch.nn.Module):
    """A loss that does not divide by what it is asked to divide by."""

    def forward(self, cls_score, target, avg_factor=None):
        return F.cross_entropy(cls_score, target)


@pytest.mark.parametrize('avg_factor', [None, 8, 16])
@pytest.mark.parametrize('num_masked', [1, 5, 8])
def test_losses_that_ignore_avg_factor_give_what_those_that_obey_give(
    num_masked, avg_factor
):
    logits, labels = torch.randn(8, 4), torch.randint(4, (8,))
    mask = torch.arange(8) < num_masked
    obeys, ignores = (
        ReferenceMaskingLoss(loss)(logits, labels, mask, avg_factor=avg_factor)
        for loss in (dict(type='CrossEntropyLoss'), AveragesByItself())
    )
    torch.testing.assert_close(ignores, obeys)
