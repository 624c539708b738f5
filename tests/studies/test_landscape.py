"""Accuracy around the weights of a model."""

import json

import pytest
import torch
from helpers.builders import build_model, image_bytes
from helpers.small_models import BACKBONES
from mmpretrain.registry import MODELS

from mmanchor.studies.landscape import accuracies, directions_of


@pytest.mark.parametrize('name', ['convolution', 'patches', 'two branches'])
def test_standard_and_anchored_models_move_the_same_way(name):
    backbone, neck, width = BACKBONES[name]
    models = [
        MODELS.build(
            dict(
                type=kind,
                backbone=dict(backbone),
                neck=neck and dict(type=neck),
                head=dict(
                    type='LinearClsHead'
                    if neck
                    else 'VisionTransformerClsHead',
                    num_classes=7,
                    in_channels=width,
                ),
            )
        )
        for kind in ('ImageClassifier', 'AnchoredImageClassifier')
    ]
    stem = [f'backbone.{one}.weight' for one in models[1].stem]
    with torch.no_grad():  # of other norms, as trained models
        for parameter in models[1].parameters():
            parameter.mul_(3)
    for plain, anchored in zip(*(directions_of(one, True) for one in models)):
        assert list(plain) == list(anchored) and stem
        for weight, one in plain.items():
            other = anchored[weight]
            if weight in stem:
                reference, other = other.chunk(2, 1)
                assert _cosines(one, reference).mean() < 0.5
            assert one.shape == other.shape
            if one.dim() > 1 and one.any():
                torch.testing.assert_close(
                    _cosines(one, other), other.flatten(1).any(1).to(other)
                )
    raw = [directions_of(one, False)[1] for one in models]
    ratios = [
        (raw[1][weight] / raw[0][weight]).flatten()
        for weight in raw[0]
        if weight not in stem and raw[0][weight].any()
    ]
    torch.testing.assert_close(
        torch.cat(ratios), ratios[0][0].expand(sum(map(len, ratios)))
    )


def _cosines(one, other):
    """Of filters."""
    return torch.cosine_similarity(one.flatten(1), other.flatten(1))


def test_a_model_is_measured_around_its_weights_and_left_as_it_was():
    model = build_model().eval()
    images = image_bytes(12, seed=1)
    model.reference_bank.fill(image_bytes(1, seed=2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    labels = torch.stack(
        [sample.pred_label for sample in model.test_step(dict(inputs=images))]
    ).flatten()
    found = accuracies(
        model, [images[:5], images[5:]], labels, [(0, 0), (8.0, 8.0)], True
    )
    assert found[0] == 100 > found[1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_study_of_landscapes(finished, tmp_path, monkeypatch):
    work = finished.copy(tmp_path, 'trained')
    changes = dict(
        settings=finished.settings[:2],
        seeds=[0],
        landscape=dict(points=3, images=20),
        metrics=['centre', 'around', 'around_raw'],
        plot=dict(kind='landscape'),
    )
    assert finished.run(work_dir=work, **changes) == 0
    results = json.loads((work / 'results.json').read_text())
    assert len(results['settings']) == 2
    for one in results['settings']:
        landscape = one['landscape']
        assert landscape['steps'] == [-1, 0, 1]
        assert landscape['normalised'][1][1] == landscape['raw'][1][1]
        assert one['mean']['centre'] == landscape['raw'][1][1]
        flat = sum(landscape['raw'], [])
        assert one['mean']['around_raw'] == pytest.approx(sum(flat) / 9)
    assert (work / 'tiny_study.png').stat().st_size > 10000

    # after a kill, only the rows that are left are measured
    (work / 'cells/masked_seed0.json').unlink()
    monkeypatch.setattr(
        'mmanchor.studies.landscape.accuracies',
        lambda *args: pytest.fail('measured again'),
    )
    assert finished.run(work_dir=work, **changes) == 0
    again = json.loads((work / 'results.json').read_text())
    assert again['settings'] == results['settings']
