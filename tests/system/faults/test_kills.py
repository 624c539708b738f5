"""kill -9 at any moment, again and again, and nothing is lost."""

import random
import time

import pytest
from helpers.exact_runs import differences

pytestmark = pytest.mark.slow


def last(folder):
    file = folder / 'last_checkpoint'
    return file.read_text() if file.exists() else None


def kill_again_and_again(train_process, config_file, tmp_path, kills):
    """What each kill left: whether half a checkpoint was among it.

    One kill in four comes while the run starts, the others after it has
    written a checkpoint at least, so that there is always something to lose.
    """
    epochs = 4 * kills
    options = {
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'param_scheduler.1.end': epochs,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'custom_imports.imports': ['mmanchor', 'helpers.slow_disk'],
    }
    whole = config_file('whole', **options)
    process = train_process(whole)
    assert process.wait() == 0, process.said
    draw, half_written = random.Random(0), []
    killed, folder = config_file('killed', **options), tmp_path / 'killed'
    for number in range(kills):
        before = last(folder)
        process = train_process(killed, '--resume', SLOW_DISK_SECONDS='0.3')
        if number % 4 == 3:
            time.sleep(draw.uniform(0, 5))
        else:
            while last(folder) == before:
                assert process.popen.poll() is None, process.said
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 1.5))
        assert process.popen.poll() is None, 'it ended before the kill'
        process.kill()
        process.wait()
        half_written.append(bool(list(folder.glob('.partial-*'))))
    process = train_process(killed, '--resume')
    assert process.wait() == 0, process.said
    assert not differences(
        tmp_path / f'whole/epoch_{epochs}.pth', folder / f'epoch_{epochs}.pth'
    )
    assert not list(folder.glob('.partial-*'))
    return half_written


def test_two_kills(train_process, config_file, tmp_path):
    kill_again_and_again(train_process, config_file, tmp_path, 2)


@pytest.mark.faults
def test_twenty_kills(train_process, config_file, tmp_path):
    half_written = kill_again_and_again(
        train_process, config_file, tmp_path, 20
    )
    print(f'{sum(half_written)} of 20 kills while a checkpoint was written')
    assert any(half_written)
