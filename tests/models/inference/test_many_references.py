"""Any number of references with any number of images, against brute force."""

import pytest
import torch
from helpers.builders import image_bytes
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.functional import anchor, best_candidates, pair_norms, settled

K = [1, 2, 64, 130]
SIZES = [(k, b) for k in K for b in sorted({1, k - 1, k, 3 * k})]
PROTOCOLS = ['mean', 'single', 'adaptive', 'transduction']


@MODELS.register_module()
class TinyBackbone(BaseModule):
    """Reads an image with one convolution, which is quick."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return (self.stem(x).sin().flatten(1),)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    built = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            backbone=dict(type='TinyBackbone'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=16),
            data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3),
        )
    )
    nn.init.normal_(built.head.fc.weight)
    return built.eval()


@torch.no_grad()
def brute_force(model, images):
    """The features for each reference, (K, B, D), and the references."""
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.in_use)
    )['inputs']
    feats = [
        model.extract_feat(anchor(images, r.expand_as(images)))[-1]
        for r in references
    ]
    return torch.stack(feats), references


def expected_answers(model, images, protocol):
    """Features and logits of each image, by the protocol's definition."""
    feats, references = brute_force(model, images)
    logits = model.head.fc(feats)
    k, rows = len(references), torch.arange(len(images))
    if protocol == 'single':
        return feats[0], logits[0]
    if protocol == 'transduction':
        pairs = model.reference_bank.residual_pairs
        pairs = model.data_preprocessor(dict(inputs=pairs.flatten(0, 1)))
        shown = pairs['inputs'].flatten(1)
        candidates, residuals = references.flatten(1), shown[::2] - shown[1::2]
        best = best_candidates(
            images.flatten(1),
            candidates,
            residuals,
            pair_norms(candidates, residuals),
        )
        return feats[best, rows], logits[best, rows]
    if protocol == 'adaptive':
        used = torch.full((len(images),), k)
        for seen in range(k - 1, 1, -1):
            done = settled(logits[:seen], k)
            used[done] = seen
        means = logits.cumsum(0) / torch.arange(1.0, k + 1)[:, None, None]
        return feats.mean(0), means[used - 1, rows]
    return feats.mean(0), logits.mean(0)


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('k,batch_size', SIZES)
@torch.no_grad()
def test_all_protocols_equal_brute_force(model, protocol, k, batch_size):
    model.reference_bank.fill(image_bytes(k, size=4))
    model.reference_bank.fill_residuals(
        image_bytes(6, size=4, seed=2).unflatten(0, (3, 2))
    )
    model.protocol = (
        protocol
        if protocol != 'transduction'
        else dict(type=protocol, num_candidates=k, num_residuals=3)
    )
    images = torch.randn(batch_size, 3, 4, 4)
    feats, logits = expected_answers(model, images, protocol)
    torch.testing.assert_close(model(images), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        model.extract_feat(images)[-1], feats, rtol=1e-4, atol=1e-4
    )
    samples = model.predict(images)
    assert len(samples) == batch_size
    assert [s.pred_label.item() for s in samples] == logits.argmax(1).tolist()
