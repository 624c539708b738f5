"""Two processes, with all that is random, stopped after an epoch."""

import pytest
from helpers.exact_runs import differences

pytestmark = pytest.mark.slow

EVERYTHING = {
    'data_preprocessor.references': dict(type='ReferenceSet', size=8),
    'train_dataloader.num_workers': 2,
    'train_cfg.val_interval': 3,
    'param_scheduler.1.end': 3,
    'default_hooks.checkpoint.interval': 1,
}


def test_resumed_after_an_epoch_it_ends_the_same(
    train_process, config_file, tmp_path
):

    def train(name, *flags, max_epochs):
        options = {**EVERYTHING, 'train_cfg.max_epochs': max_epochs}
        process = train_process(config_file(name, **options), *flags, ranks=2)
        assert process.wait() == 0, process.said
        return tmp_path / name / f'epoch_{max_epochs}.pth'

    whole = train('whole', max_epochs=3)
    train('stopped', max_epochs=1)
    assert not differences(whole, train('stopped', '--resume', max_epochs=3))
