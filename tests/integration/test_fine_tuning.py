"""From a standard checkpoint to an anchored model with other classes."""

import pytest
import torch
from helpers.builders import image_bytes
from mmengine.hooks import Hook
from mmpretrain.registry import MODELS

NEW_CLASSES = 12


@pytest.fixture
def standard(small_config, tmp_path):
    """A standard model with ten classes, and its checkpoint."""
    cfg = small_config('')
    cfg.model.data_preprocessor = cfg.data_preprocessor
    model = MODELS.build(cfg.model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if it had trained
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    path = str(tmp_path / 'standard.pth')
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return model.eval(), path


class Stop(Hook):
    """Ends a run when everything is loaded."""

    priority = 'LOWEST'

    def before_train(self, runner):
        raise KeyboardInterrupt


@pytest.fixture
def start(run):
    """The model that an anchored run would begin to train."""

    def make(num_classes=NEW_CLASSES, **options):
        runner = run(
            **{
                'model.head.num_classes': num_classes,
                'data_preprocessor.num_classes': num_classes,
                **options,
            }
        )
        runner.register_hook(Stop())
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        return runner.model.eval()

    return make


def ways(path):
    pretrained = dict(type='Pretrained', checkpoint=path)
    return {
        'load_from': dict(load_from=path),
        'backbone': {
            'model.backbone.init_cfg': dict(pretrained, prefix='backbone.')
        },
        'model': {'model.init_cfg': pretrained},
        'pretrained': {'model.pretrained': path},
    }


@torch.no_grad()
def assert_same_features(model, standard):
    images = image_bytes(5, seed=3)
    for stage in ('backbone', 'neck'):
        (expected,) = standard.extract_feat(
            standard.data_preprocessor(dict(inputs=images))['inputs'], stage
        )
        (feats,) = model.extract_feat(
            model.data_preprocessor(dict(inputs=images))['inputs'], stage
        )
        torch.testing.assert_close(feats, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'way', ['load_from', 'backbone', 'model', 'pretrained']
)
def test_the_backbone_starts_where_it_was_and_the_head_afresh(
    standard, start, way
):
    plain, path = standard
    model = start(**ways(path)[way])
    assert_same_features(model, plain)  # for the references of the run
    model.reference_bank.fill(image_bytes(4, seed=9))
    assert_same_features(model, plain)  # and for any others
    halves = model.backbone.conv1.weight.chunk(2, dim=1)
    assert torch.equal(*halves)
    assert torch.equal(halves[0], plain.backbone.conv1.weight)
    head = model.head.fc.weight
    assert head.shape == (NEW_CLASSES, 64) and head.std() > 0
    old = plain.head.fc.weight
    assert (head[:10] - old).abs().max() > 1e-3


@pytest.mark.parametrize('way', ['load_from', 'model', 'pretrained'])
def test_with_the_same_classes_the_head_is_taken_too(standard, start, way):
    plain, path = standard
    model = start(num_classes=10, **ways(path)[way])
    assert torch.equal(model.head.fc.weight, plain.head.fc.weight)
    with torch.no_grad():
        ours, theirs = (
            torch.stack(
                [
                    s.pred_score
                    for s in each.test_step(dict(inputs=image_bytes(5)))
                ]
            )
            for each in (model, plain)
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_without_a_checkpoint_the_halves_are_not_alike(start):
    halves = start().backbone.conv1.weight.chunk(2, dim=1)
    assert not torch.equal(*halves)
