"""A run in another order of memory is the same run."""

import pytest
import torch
from helpers.exact_runs import differences
from mmengine.runner import Runner

HOOK = {'default_hooks.channels_last': dict(type='ChannelsLastHook')}


@pytest.mark.parametrize('name', ['', 'anchored-masked_'])
def test_convolutions_get_images_of_that_order(small_config, name):
    runner = Runner.from_cfg(small_config(name, epochs=1, **HOOK))
    orders = set()

    def look(module, given):
        if module.in_channels > 8:
            orders.update(
                x.is_contiguous(memory_format=torch.channels_last)
                for x in (*given, module.weight)
            )

    for module in runner.model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] > 1:
            module.register_forward_pre_hook(look)
    runner.train()
    assert orders == {True}


def test_first_steps_agree_with_those_without(small_config, tmp_path):
    losses = {}
    for name, hooks in (('with', HOOK), ('without', {})):
        cfg = small_config(epochs=1, **hooks)
        cfg.work_dir = str(tmp_path / name)
        runner = Runner.from_cfg(cfg)
        found = losses[name] = []
        step = runner.model.train_step

        def watched(*args, step=step, found=found, **kwargs):
            logs = step(*args, **kwargs)
            found.append(logs['loss'].item())
            return logs

        runner.model.train_step = watched
        runner.train()
    assert len(losses['with']) == 4
    assert losses['with'][0] == pytest.approx(losses['without'][0], rel=1e-5)
    # ReLUs near 0 turn
    assert losses['with'] == pytest.approx(losses['without'], rel=0.03)


def test_resumed_it_ends_the_same(small_config, tmp_path):

    def train(folder, **more):
        cfg = small_config(epochs=2, **HOOK, **more)
        cfg.work_dir = str(folder)
        Runner.from_cfg(cfg).train()
        return folder

    whole = train(tmp_path / 'whole')
    resumed = train(
        tmp_path / 'resumed', load_from=str(whole / 'epoch_1.pth'), resume=True
    )
    assert not differences(whole / 'epoch_2.pth', resumed / 'epoch_2.pth')
