"""``--tta`` of both tools: every reference sees every augmented image."""

import pickle

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain import get_model
from mmpretrain.registry import DATASETS

from mmanchor.engine import launch


@torch.no_grad()
def flipped_scores(config, checkpoint):
    """Scores of the test set as it is, and flipped."""
    model = get_model(config, checkpoint)
    dataset = DATASETS.build(model._config.test_dataloader.dataset)
    images = torch.stack(pseudo_collate(list(dataset))['inputs'])
    normalise = model.data_preprocessor
    bank = normalise(dict(inputs=model.reference_bank.images))['inputs']
    found = []
    for inputs in (images, images.flip(3)):
        x = normalise(dict(inputs=inputs))['inputs']
        logits = [
            model(torch.cat([r.expand_as(x), x - r], dim=1)) for r in bank
        ]
        found.append(torch.stack(logits).mean(0).softmax(1))
    return found


@pytest.mark.parametrize('whose', ['ours', 'host'])
def test_scores_are_averaged_over_flips_and_references(
    trained, tool, tmp_path, whose
):
    out = tmp_path / 'out.pkl'
    arguments = [
        *trained,
        '--tta',
        '--out',
        str(out),
        '--work-dir',
        str(tmp_path / 'tested'),
    ]
    if whose == 'ours':
        launch.test(arguments)
    else:
        tool('test.py', *arguments)
    samples = pickle.loads(out.read_bytes())
    scores = torch.stack([sample['pred_score'] for sample in samples])
    plain, flipped = flipped_scores(*trained)
    assert len(scores) == 40
    torch.testing.assert_close(
        scores, (plain + flipped) / 2, rtol=1e-4, atol=1e-5
    )
    assert (plain - flipped).abs().max() > 1e-3
