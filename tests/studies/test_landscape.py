"""Accuracy around the weights of a model."""

import json

import pytest
import torch
from helpers.builders import build_model, image_bytes
from helpers.small_models import BACKBONES
from mmpretrain.registry import MODELS

from mmanchor.functional import moved_weights, random_direction
from mmanchor.studies.landscape import accuracies, directions_of, load_trained

WEIGHTS = dict(
    conv=torch.arange(1.0, 25.0).view(2, 3, 2, 2),
    linear=torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]),
    bias=torch.ones(3),
)


def test_filters_of_a_direction_have_the_norms_of_the_weights():
    found = random_direction(WEIGHTS, seed=3)
    for name in ('conv', 'linear'):
        torch.testing.assert_close(
            found[name].flatten(1).norm(dim=1),
            WEIGHTS[name].flatten(1).norm(dim=1),
        )
    assert not found['bias'].any()
    again = random_direction(WEIGHTS, seed=3)
    other = random_direction(WEIGHTS, seed=4)
    assert torch.equal(found['conv'], again['conv'])
    assert not torch.equal(found['conv'], other['conv'])


def test_a_raw_direction_has_the_norm_of_all_filters():
    found = random_direction(WEIGHTS, seed=3, normalise=False)
    norms = [
        torch.cat([of['conv'].flatten(), of['linear'].flatten()]).norm()
        for of in (found, WEIGHTS)
    ]
    torch.testing.assert_close(*norms)
    ratio = found['linear'].norm(dim=1) / WEIGHTS['linear'].norm(dim=1)
    assert ratio[0] != pytest.approx(ratio[2].item(), rel=1e-3)
    normalised = random_direction(WEIGHTS, seed=3)
    for a, b in zip(found['conv'], normalised['conv']):  # the same way
        assert torch.cosine_similarity(
            a.flatten(), b.flatten(), dim=0
        ).item() == pytest.approx(1)


def test_a_draw_depends_on_the_name_and_not_on_what_was_drawn_before():
    more = dict(first=torch.ones(5, 7), **WEIGHTS)
    for name, way in random_direction(WEIGHTS, seed=3).items():
        assert torch.equal(random_direction(more, seed=3)[name], way), name
    same = random_direction(dict(a=torch.ones(4, 9), b=torch.ones(4, 9)), 3)
    assert not torch.equal(same['a'], same['b'])


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


def test_steps_are_in_directions():
    ways = [random_direction(WEIGHTS, seed) for seed in (0, 1)]
    found = moved_weights(WEIGHTS, ways, [0.5, -2.0])
    torch.testing.assert_close(
        found['conv'],
        WEIGHTS['conv'] + ways[0]['conv'] / 2 - 2 * ways[1]['conv'],
    )
    assert torch.equal(
        moved_weights(WEIGHTS, ways, [0, 0])['conv'], WEIGHTS['conv']
    )
    with pytest.raises(ValueError, match='each of 2 directions, but got 1'):
        moved_weights(WEIGHTS, ways, [1])
    with pytest.raises(ValueError, match='of two axes or more, but got b'):
        random_direction(dict(b=torch.ones(3)), 0)


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


@pytest.mark.parametrize('name', ['', 'anchored_'])
def test_weights_that_were_not_trained_have_no_landscape(
    name, small_config, tmp_path
):
    cfg = small_config(
        name, **{'custom_hooks.0.num_references': 1} if name else {}
    )
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    if name:
        model.reference_bank.fill(image_bytes(1, seed=2))
    path = str(tmp_path / 'untrained.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    with pytest.raises(ValueError, match='a landscape.* but got none. Train'):
        load_trained(cfg, None)
    with pytest.raises(ValueError, match='has no sign of training'):
        load_trained(cfg, path)
    model.backbone.norm1.num_batches_tracked += 1
    torch.save(dict(state_dict=model.state_dict()), path)
    assert load_trained(cfg, path).model


def test_weights_without_batchnorm_have_to_be_trained_too(run, tmp_path):
    runner = run(
        '',
        **{
            'model.backbone': dict(
                _delete_=True,
                type='VisionTransformer',
                arch=dict(
                    embed_dims=24,
                    num_layers=1,
                    num_heads=2,
                    feedforward_channels=48,
                ),
                img_size=16,
                patch_size=8,
            ),
            'model.neck': None,
            'model.head': dict(
                _delete_=True,
                type='VisionTransformerClsHead',
                num_classes=10,
                in_channels=24,
            ),
            'train_cfg.max_epochs': 1,
        },
    )
    cfg, folder = runner.cfg, str(tmp_path)
    assert not any('running_mean' in one for one in runner.model.state_dict())
    runner.model.init_weights()
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    # as of epoch 1, iteration 0
    runner.save_checkpoint(folder, 'new.pth', save_param_scheduler=False)
    new = torch.load(tmp_path / 'new.pth', weights_only=False)
    assert new['meta']['epoch'] == 1
    runner.train()
    trained = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)

    def load(**saved):
        path = str(tmp_path / 'some.pth')
        torch.save(saved, path)
        return load_trained(cfg, path)

    new, trained = new['state_dict'], trained['state_dict']
    with pytest.raises(ValueError, match='has no sign of training: its `meta'):
        load_trained(cfg, str(tmp_path / 'new.pth'))
    for meta in ({}, None, dict(iter=0), dict(epoch=0)):
        with pytest.raises(ValueError, match='has no sign of training'):
            load(state_dict=new, meta=meta)
    with pytest.raises(ValueError, match='has no sign of training'):
        load(**new)
    assert load_trained(cfg, str(tmp_path / 'work/epoch_1.pth')).model
    assert load(state_dict=trained).model and load(**trained).model
    # as of a model whose norm layers were frozen
    for meta in (dict(epoch=1), dict(epoch=0, iter=3)):
        assert load(state_dict=new, meta=meta).model


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
