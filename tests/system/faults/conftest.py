"""A short run of ``tools/train.py`` as a process of its own."""

import os
import signal
from pathlib import Path

import pytest
from helpers.forked import ForkedTool
from helpers.runs import config_maker
from helpers.waiting import until

collect_ignore = ['conftest.py']  # for doctests: others have its name
TOOLS = Path(__file__).parents[3] / 'tools'


class Process:
    """``tools/train.py`` on a config, in a process group of its own.

    With ``ranks`` it is ``torchrun`` with as many.
    """

    def __init__(self, config, *flags, ranks=None, fork_ranks=True, **more):
        self.log = Path(f'{config}.log')
        self.began_at = self.log.stat().st_size if self.log.exists() else 0
        self.popen = ForkedTool(
            TOOLS / 'train.py',
            config,
            *flags,
            output=self.log,
            env=more,
            session=True,
            ranks=ranks,
            fork_ranks=fork_ranks,
        )

    def kill(self, number=signal.SIGKILL):
        """All of the group: workers, too."""
        until(lambda: os.getpgid(self.popen.pid) == self.popen.pid)
        os.killpg(self.popen.pid, number)

    def wait(self, timeout=180):
        """The exit status."""
        try:
            return self.popen.wait(timeout)
        finally:
            if self.popen.poll() is None:
                self.kill()

    def wait_for(self, text, timeout=120):
        """Until it has printed something."""

        def printed():
            # before it is read: what it printed at its end counts
            ended = self.popen.poll() is not None
            assert text in self.said or not ended, self.said
            return text in self.said

        until(printed, timeout, lambda: self.said)

    @property
    def children(self):
        """Process ids of its own processes."""
        folder = f'/proc/{self.popen.pid}/task/{self.popen.pid}/children'
        return [int(pid) for pid in Path(folder).read_text().split()]

    @property
    def said(self):
        """What it printed."""
        if not self.log.exists():
            return ''
        with open(self.log) as log:
            log.seek(self.began_at)
            return log.read()


@pytest.fixture
def train_process():
    """Start one; none is left."""
    started = []

    def start(config, *flags, **more):
        started.append(Process(str(config), *flags, **more))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.kill()
            process.popen.wait()


@pytest.fixture
def config_file(tmp_path):
    """Write the config of a run with all that is random in it."""

    def write(name, **options):
        cfg = config_maker(tmp_path / name)(
            **{
                'log_level': 'INFO',
                'model.train_cfg': dict(
                    augments=dict(type='Mixup', alpha=0.8)
                ),
                'data_preprocessor.mask_prob': 0.5,
                'custom_hooks': [
                    dict(type='EMAHook', momentum=0.1),
                    dict(type='KReferenceHook', num_references=2),
                ],
                **options,
            }
        )
        cfg.work_dir = str(tmp_path / name)
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
        )
        cfg.dump(tmp_path / f'{name}.py')
        return tmp_path / f'{name}.py'

    return write
