"""The same training in one process and in two."""

import json
from pathlib import Path

import torch
from helpers.forked import run_forked

TRAIN = Path(__file__).parents[2] / 'tools/train.py'
KEEPER = """
import json
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

@HOOKS.register_module(force=True)
class KeepLosses(Hook):
    def before_run(self, runner):
        self.kept = []
    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.kept.append(outputs['loss'].item())
    def after_train(self, runner):
        with open(f'losses{runner.rank}of{runner.world_size}', 'w') as file:
            json.dump(self.kept, file)
"""


def test_two_processes_learn_as_one_of_the_same_batch(
    small_config, tmp_path, monkeypatch
):
    """What has to be equal: no batch statistics, no random augmentation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path('keeper.py').write_text(KEEPER)
    cfg = small_config()
    cfg.custom_imports.imports = ['mmanchor', 'keeper']
    cfg.model.backbone.norm_cfg = dict(type='GN', num_groups=4)
    cfg.data_preprocessor.update(
        mask_prob=0.5,
        mask_by='sample',
        references=dict(type='ReferenceSet', size=20),
    )
    cfg.train_dataloader.dataset.update(
        indices=128, pipeline=cfg.test_pipeline
    )
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.custom_hooks.append(dict(type='KeepLosses'))
    cfg.dump('config.py')
    for name, ranks, size in (('two', 2, 8), ('one', None, 16)):
        status, printed = run_forked(
            TRAIN,
            'config.py',
            '--work-dir',
            name,
            '--cfg-options',
            f'train_dataloader.batch_size={size}',
            output=tmp_path / f'{name}.log',
            ranks=ranks,
        )
        assert status == 0, printed
    one, *two = (
        torch.tensor(json.loads(Path(f'losses{name}').read_text()))
        for name in ('0of1', '0of2', '1of2')
    )
    assert len(one) == 8 and (two[0] - two[1]).abs().max() > 1e-3
    torch.testing.assert_close(sum(two) / 2, one, rtol=0, atol=1e-5)
    states = [
        torch.load(f'{name}/epoch_1.pth', weights_only=False)['state_dict']
        for name in ('one', 'two')
    ]
    torch.testing.assert_close(*states, rtol=0, atol=1e-5)
