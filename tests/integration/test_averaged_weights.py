"""EMAHook: what its checkpoints answer, and resuming."""

import pytest
import torch
from helpers.builders import image_bytes
from mmengine.hooks import EMAHook
from mmpretrain import get_model

HOOKS = [
    dict(type='EMAHook', momentum=0.2),
    dict(type='KReferenceHook', num_references=3),
]
# cropping draws from the global random state, which is not resumed
PIPELINE = [
    dict(type='Resize', scale=16, interpolation='bicubic'),
    dict(type='PackInputs'),
]


@pytest.fixture
def train(run, tmp_path):

    def make(epochs, folder, **options):
        runner = run(
            work_dir=str(tmp_path / folder),
            custom_hooks=[dict(hook) for hook in HOOKS],
            param_scheduler=None,
            **{
                'train_dataloader.dataset.pipeline': PIPELINE,
                'data_preprocessor.mask_prob': 0.5,
                'train_cfg.max_epochs': epochs,
                'train_cfg.val_interval': 1,
                **options,
            },
        )
        runner.train()
        (hook,) = (h for h in runner.hooks if isinstance(h, EMAHook))
        return runner, hook.ema_model.module

    return make


def test_a_checkpoint_answers_as_the_averaged_model(train, tmp_path):
    runner, averaged = train(2, 'work')
    model = get_model(runner.cfg, str(tmp_path / 'work/epoch_2.pth'))
    assert torch.equal(
        model.reference_bank.images, averaged.reference_bank.images
    )
    assert len(model.reference_bank) == 3
    images = model.data_preprocessor(dict(inputs=image_bytes(4)))['inputs']
    with torch.no_grad():
        answer, expected, current = (
            each.eval()(images) for each in (model, averaged, runner.model)
        )
    assert torch.equal(answer, expected)
    assert not torch.allclose(answer, current)


def test_testing_it_needs_no_averaging_hook(train, run, tmp_path):
    runner, _ = train(2, 'work')
    expected = {
        key: runner.message_hub.get_scalar(f'val/{key}').current()
        for key in ('accuracy/top1', 'calibration/ece')
    }
    for hooks in (HOOKS, HOOKS[1:]):
        tester = run(
            load_from=str(tmp_path / 'work/epoch_2.pth'),
            custom_hooks=[dict(hook) for hook in hooks],
        )
        assert tester.test() == pytest.approx(expected)


def test_a_resumed_run_ends_as_an_uninterrupted_one(train):
    whole, whole_averaged = train(3, 'whole')
    train(1, 'parts')
    parts, parts_averaged = train(3, 'parts', resume=True)
    assert parts.iter == whole.iter == 12
    torch.testing.assert_close(
        parts.model.state_dict(), whole.model.state_dict()
    )
    torch.testing.assert_close(
        parts_averaged.state_dict(), whole_averaged.state_dict()
    )
