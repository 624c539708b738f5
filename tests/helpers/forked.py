"""Start processes by forking this one, which has imported the host already.

A new interpreter takes seconds to import it.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import torch
from helpers import train_on_gloo
from torch.distributed import run as torchrun
from torch.distributed.launcher.api import elastic_launch
from torch.multiprocessing import start_processes

FORK = multiprocessing.get_context('fork')


def spawn(function, args, nprocs):
    """As ``torch.multiprocessing.spawn``, which imports everything again."""
    start_processes(function, args, nprocs, start_method='fork')


class ForkedTool:
    """A tool in a process of its own, with the methods of a ``Popen``.

    Args:
        path (str | Path): The tool's file.
        arguments: Its arguments.
        output (str | Path): The file that gets what it prints.
        cwd (str | Path, optional): The folder that it runs in. Defaults to
            None: the present one.
        env (dict, optional): Changes to the environment. Defaults to None.
        session (bool): Whether it leads a new process group. Defaults to
            False.
        ranks (int, optional): The number of processes that ``torchrun``
            starts, in which a run trains on the CPU. Defaults to None: no
            ``torchrun``.
        fork_ranks (bool): Whether these are forks, too, of which PyTorch
            names only one that failed. Defaults to True.
    """

    def __init__(
        self,
        path,
        *arguments,
        output,
        cwd=None,
        env=None,
        session=False,
        ranks=None,
        fork_ranks=True,
    ):
        words = [str(path), *map(str, arguments)]
        self.output = Path(output)
        self.process = FORK.Process(
            target=_main,
            args=(words, self.output, cwd, env, session, ranks, fork_ranks),
        )
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        """The exit status; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout=None):
        """The exit status, once it has ended."""
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout)
        return self.poll()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run_forked(path, *arguments, output, **options):
    """Run a tool to its end.

    Returns:
        Tuple[int, str]: Its exit status and what it printed.
    """
    tool = ForkedTool(path, *arguments, output=output, **options)
    status = tool.wait(300)
    return status, tool.output.read_text()


def _main(words, output, cwd, env, session, ranks, fork_ranks):
    """What the new process does."""
    if session:
        os.setsid()
    with output.open('ab') as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = os.fdopen(1, 'w', 1, closefd=False)
    sys.stderr = os.fdopen(2, 'w', 1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # threads of OpenMP don't survive a fork
    os.chdir(cwd or '.')
    os.environ.update(env or {})
    sys.argv = words
    if ranks is None:
        runpy.run_path(words[0], run_name='__main__')
    else:
        _train_on_ranks(words[1:], ranks, fork_ranks)


def _train_on_ranks(arguments, ranks, fork_ranks):
    """What ``torchrun`` does; it may fork its processes, too."""
    config, *_ = torchrun.config_from_args(
        torchrun.parse_args(
            [
                '--rdzv-backend=c10d',
                '--rdzv-endpoint=localhost:0',
                '--rdzv-id=tests',
                f'--nproc-per-node={ranks}',
                'train_on_gloo',
            ]
        )
    )
    if fork_ranks:
        config.start_method = 'fork'
        elastic_launch(config, train_on_gloo.main)(arguments)
    else:
        script = ['-u', train_on_gloo.__file__]
        elastic_launch(config, sys.executable)(*script, *arguments)
