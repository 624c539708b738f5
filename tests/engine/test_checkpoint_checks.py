import pytest
import torch
from builders import build_model, model_config
from mmpretrain.registry import MODELS

from mmanchor.engine import launch
from mmanchor.engine.checkpoint_checks import (check_architecture,
                                               check_pretrained)


def weights_of(**kwargs):
    return MODELS.build(model_config(**kwargs)).state_dict()


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('type_',
                         ['ImageClassifier', 'AnchoredImageClassifier'])
def test_plain_and_anchored_weights_fit(type_, prefix):
    weights = weights_of(type=type_)
    weights.pop('head.fc.weight')  # other classes
    weights.pop('backbone.layer1.0.bn1.weight')  # one that the host reports
    check_architecture(build_model(), {
        prefix + name: weight
        for name, weight in weights.items()
    })


def other_depth():
    config = model_config(type='ImageClassifier')
    config['backbone'] = dict(type='ResNet', depth=50)
    return MODELS.build(config).state_dict()


def other_stem():
    weights = weights_of(type='ImageClassifier')
    weights['backbone.conv1.weight'] = torch.zeros(8, 3, 7, 7)
    return weights


def other_channels():
    weights = weights_of(type='ImageClassifier')
    weights['backbone.conv1.weight'] = torch.zeros(8, 4, 3, 3)
    return weights


@pytest.mark.parametrize('state_dict,message', [
    (other_depth, r'model.pth has \d+ of its 120 .*conv1.weight should be '
     r'\(8, 6, 3, 3\) and is \(64, 3, 7, 7\)'),
    (other_stem, r'119 of its 120 .* is \(8, 3, 7, 7\)'),
    (other_channels, r'119 of its 120 .* is \(8, 4, 3, 3\)'),
    (dict, r'0 of its 120 .* is not there\. Name a checkpoint'),
])
def test_weights_of_another_backbone_are_refused(state_dict, message):
    with pytest.raises(ValueError, match=message):
        check_architecture(build_model(), state_dict(), 'model.pth')


@pytest.fixture
def other_checkpoint(tmp_path):
    path = tmp_path / 'resnet50.pth'
    torch.save(dict(state_dict=other_depth()), path)
    return str(path)


def test_a_run_refuses_them(run, other_checkpoint):
    message = r'Expected weights of a ResNet_CIFAR.*resnet50\.pth has'
    with pytest.raises(ValueError, match=message):
        run(load_from=other_checkpoint).train()
    with pytest.raises(ValueError, match=message):
        run(load_from=other_checkpoint).test()


def test_a_plain_model_refuses_an_anchored_one_s(small_config, tmp_path):
    runner = launch.build_runner(small_config(**{'train_cfg.max_epochs': 1}))
    runner.train()
    cfg = small_config('', load_from=str(tmp_path / 'work/epoch_1.pth'))
    with pytest.raises(ValueError, match='has one .ImageClassifier.*bank.*Us'):
        launch.build_runner(cfg).test()


def test_a_plain_model_takes_a_plain_one_s(small_config, tmp_path):
    launch.build_runner(small_config('', **{'train_cfg.max_epochs':
                                            1})).train()
    cfg = small_config('', load_from=str(tmp_path / 'work/epoch_1.pth'))
    assert 'accuracy/top1' in launch.build_runner(cfg).test()


def test_pretrained_files_are_looked_for_first(small_config, tmp_path):
    short = tmp_path / 'short.pth'
    short.write_bytes(b'PK')
    for path, message in (('gone.pth', "none at 'gone.pth'. Mend `checkpoint"),
                          ('', "none at ''"), (str(short), 'whole checkpoint'),
                          (None, 'none at None')):
        init_cfg = dict(type='Pretrained', checkpoint=path)
        with pytest.raises(ValueError, match=message):
            check_pretrained(dict(backbone=dict(init_cfg=init_cfg)))
    config = tmp_path / 'config.py'
    small_config().dump(config)
    with pytest.raises(ValueError, match='pretrained weights, but.*gone.pth'):
        launch.train([
            str(config), '--cfg-options',
            'model.backbone.init_cfg.type=Pretrained',
            'model.backbone.init_cfg.checkpoint=gone.pth'
        ])
