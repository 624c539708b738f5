from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from helpers.builders import build_model, model_config
from mmpretrain.registry import MODELS

from mmanchor.checkpoints.verification import (
    PlainModelHook,
    check_architecture,
    check_checkpoint,
    check_kind,
    check_pretrained,
    check_pretrained_fits,
)
from mmanchor.engine import launch


def weights_of(**kwargs):
    return MODELS.build(model_config(**kwargs)).state_dict()


@pytest.mark.parametrize(
    'type_,prefix',
    [('ImageClassifier', ''), ('AnchoredImageClassifier', 'module.')],
)
def test_plain_and_anchored_weights_fit(type_, prefix):
    weights = weights_of(type=type_)
    weights.pop('head.fc.weight')  # other classes
    weights.pop('backbone.layer1.0.bn1.weight')  # one that the host reports
    named = {prefix + name: weight for name, weight in weights.items()}
    check_architecture(build_model(), named)


def other_depth():
    config = model_config(type='ImageClassifier')
    config['backbone'] = dict(type='ResNet', depth=50)
    return MODELS.build(config).state_dict()


@pytest.mark.parametrize(
    'state_dict,message',
    [
        (
            other_depth,
            r'model.pth has \d+ of its 120 .*conv1.weight should have '
            r'the shape \(8, 6, 3, 3\), but is \(64, 3, 7, 7\)',
        ),
        (dict, r'0 of its 120 .* is missing\. Name a checkpoint'),
    ],
)
def test_weights_of_another_backbone_are_refused(state_dict, message):
    with pytest.raises(ValueError, match=message):
        check_architecture(build_model(), state_dict(), 'model.pth')


@pytest.fixture
def other_checkpoint(tmp_path):
    path = tmp_path / 'resnet50.pth'
    torch.save(dict(state_dict=other_depth()), path)
    return str(path)


def test_a_run_refuses_them(run, other_checkpoint):
    message = r'Expected the weights of the ResNet_CIFAR.*resnet50\.pth has'
    with pytest.raises(ValueError, match=message):
        run(load_from=other_checkpoint).train()
    with pytest.raises(ValueError, match=message):
        run(load_from=other_checkpoint).test()


def test_a_plain_model_loads_weights_of_plain_ones_alone(
    small_config, checkpoint, plain_checkpoint
):
    cfg = small_config('', load_from=checkpoint)
    with pytest.raises(ValueError, match='has one .ImageClassifier.*bank.*Us'):
        launch.build_runner(cfg).test()
    cfg = small_config('', load_from=plain_checkpoint)
    assert 'accuracy/top1' in launch.build_runner(cfg).test()


def test_missing_pretrained_files_are_refused_early(small_config, tmp_path):
    short = tmp_path / 'short.pth'
    short.write_bytes(b'PK')
    for path, message in (
        ('gone.pth', "none at 'gone.pth'. Correct `checkpoint"),
        ('', "none at ''"),
        (str(short), 'whole checkpoint'),
        (None, 'none at None'),
    ):
        init_cfg = dict(type='Pretrained', checkpoint=path)
        with pytest.raises(ValueError, match=message):
            check_pretrained(dict(backbone=dict(init_cfg=init_cfg)))
    with pytest.raises(ValueError, match='pretrained weights, but.*gone.pth'):
        train_backbone_from('gone.pth', small_config, tmp_path)


def train_backbone_from(path, small_config, folder):
    small_config().dump(folder / 'config.py')
    launch.train(
        [
            str(folder / 'config.py'),
            '--cfg-options',
            'model.backbone.init_cfg.type=Pretrained',
            f'model.backbone.init_cfg.checkpoint={path}',
        ]
    )


@pytest.fixture
def plain_checkpoint(tmp_path):
    path = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=weights_of(type='ImageClassifier')), path)
    return str(path)


@pytest.mark.parametrize('where', ['model', 'backbone', 'pretrained'])
def test_pretrained_weights_of_another_backbone_are_refused(
    where, plain_checkpoint, other_checkpoint
):
    for path, wrong in ((plain_checkpoint, False), (other_checkpoint, True)):
        init_cfg = dict(type='Pretrained', checkpoint=path)
        config = {
            'model': dict(init_cfg=init_cfg),
            'backbone': dict(
                backbone=dict(init_cfg=dict(init_cfg, prefix='backbone'))
            ),
            'pretrained': dict(pretrained=path, head=dict()),
        }[where]
        if wrong:
            with pytest.raises(ValueError, match='resnet50.pth has 20 of its'):
                check_pretrained_fits(build_model(), config)
        else:
            check_pretrained_fits(build_model(), config)


def test_a_forgotten_prefix_is_reported(
    plain_checkpoint, small_config, tmp_path
):
    with pytest.raises(ValueError, match="a classifier. Add `prefix='backbo"):
        train_backbone_from(plain_checkpoint, small_config, tmp_path)


def test_other_files_are_left_to_the_host():
    init_cfg = dict(type='Pretrained', checkpoint='https://example.org/a.pth')
    check_pretrained_fits(build_model(), dict(init_cfg=init_cfg))


def test_a_home_folder_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save({}, tmp_path / 'a.pth')
    check_checkpoint('~/a.pth')


def test_a_bank_for_other_channels_is_refused():
    model = build_model()
    model.reference_bank.fill(torch.zeros(2, 3, 8, 8))
    weights = model.state_dict()
    weights['reference_bank.images'] = torch.zeros(2, 6, 8, 8)
    with pytest.raises(ValueError, match='of 3 channels, but.* of 6. Load'):
        model.load_state_dict(weights)


def test_the_kind_of_a_wrapped_model_is_recognised():
    checkpoint = dict(state_dict={'reference_bank.images': torch.zeros(1)})
    for config, refuses in (
        (model_config(), False),
        (model_config(type='ImageClassifier'), True),
    ):
        model = torch.nn.Sequential(torch.nn.Sequential(MODELS.build(config)))
        runner = SimpleNamespace(model=model)  # as DDP and TTA wrap
        with (
            pytest.raises(ValueError, match='plain model')
            if refuses
            else nullcontext()
        ):
            PlainModelHook().after_load_checkpoint(runner, checkpoint)


def test_subtractive_mix_loads_its_own_weights_but_no_anchored_ones():
    model = build_model(type='SubtractiveMixImageClassifier')
    check_kind(model, weights_of(type='SubtractiveMixImageClassifier'))
    check_kind(model, weights_of(type='ImageClassifier'))
    anchored = weights_of()
    stripped = {
        name: weight
        for name, weight in anchored.items()
        if 'reference_bank' not in name
    }
    for one, weights in (
        (model, anchored),
        (model, stripped),
        (build_model(type='ImageClassifier'), stripped),
    ):
        with pytest.raises(ValueError, match="is an anchored model's"):
            check_kind(one, weights)
