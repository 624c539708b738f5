"""Processes that train together, with GPUs and without."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta

import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.registry import MODEL_WRAPPERS
from torch.nn.parallel import DistributedDataParallel

from ..utils.config import type_name

# where each launcher says rank, number of processes and rank on the node
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
}
STARTED_BY = {
    'pytorch': 'tools/dist_train.sh, or torchrun',
    'slurm': 'tools/slurm_train.sh, or srun',
    'mpi': 'mpirun',
}
PORTS = range(20000, 30000)  # below those that systems give out


def init_distributed(cfg: Config) -> None:
    """Join the processes of a run, before its runner is built.

    On GPUs MMEngine does that itself; here it is told what it would ask for.
    Without GPUs, where it would fail, the processes are joined by gloo, and
    ``model_wrapper_cfg`` is set where the config is silent. A config without
    a launcher is left as it is.

    Args:
        cfg (Config): Of a run, with ``launcher``. Changed in place.

    Raises:
        ValueError: The process was not started by the launcher.

    Example:
        >>> cfg = Config(dict(launcher='none'))
        >>> init_distributed(cfg)
        >>> cfg
        Config (path: None): {'launcher': 'none'}
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    on_cpu = get_device() == 'cpu'
    if not is_distributed():
        _check_environment(launcher)
        options = cfg.get('env_cfg', {}).get('dist_cfg') or {}
        if launcher == 'slurm':
            _set_meeting_point(options.get('port'))
        if on_cpu:
            _init_on_cpu(launcher, options)
    if on_cpu:
        _set_wrapper(cfg)


def slurm_port(environment: Mapping[str, str]) -> int:
    """The port where the tasks of a Slurm step meet.

    All of them know it without asking, and two steps on a node have two.

    Args:
        environment (Mapping[str, str]): The process's.

    Example:
        >>> slurm_port({'SLURM_JOB_ID': '12', 'SLURM_STEP_ID': '3'})
        20123
    """
    job, step = (
        int(environment.get(name, 0))
        for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID')
    )
    return PORTS[(10 * job + step) % len(PORTS)]


def first_host(nodes: str) -> str:
    """The first of a Slurm list of nodes.

    Args:
        nodes (str): As in ``SLURM_NODELIST``.

    Example:
        >>> first_host('gpu[07-09,12],cpu1')
        'gpu07'
    """
    first = re.split(r',(?![^[]*])', nodes)[0]
    return re.sub(r'\[(\d+)[^]]*]', r'\1', first)


def _check_environment(launcher: str) -> None:
    needed = [*VARIABLES[launcher][:2]]
    if launcher == 'slurm':
        needed += ['SLURM_NODELIST', 'SLURM_STEP_ID']
    else:
        needed += [VARIABLES[launcher][2], 'MASTER_ADDR']
        if launcher == 'pytorch':
            needed.append('MASTER_PORT')
    missing = [name for name in needed if not os.environ.get(name)]
    if not missing:
        return
    # a batch script has a job's variables, and would wait for others for ever
    outside = (
        'a task of srun'
        if launcher == 'slurm'
        else f'a process of --launcher {launcher}'
    )
    raise ValueError(
        f'Expected {outside}, with {", ".join(needed)} in its environment, '
        f'but got no {", ".join(missing)}. Start with '
        f'{STARTED_BY[launcher]}, or drop --launcher.'
    )


def _set_meeting_point(port) -> None:
    environment = os.environ
    # the name of a lone node need not be known to itself
    alone = environment.get('SLURM_NNODES') == '1'
    environment.setdefault(
        'MASTER_ADDR',
        '127.0.0.1' if alone else first_host(environment['SLURM_NODELIST']),
    )
    if port is not None:
        environment['MASTER_PORT'] = str(port)
    environment.setdefault('MASTER_PORT', str(slurm_port(environment)))


def _init_on_cpu(launcher: str, options: dict) -> None:
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    for name, source in zip(names, VARIABLES[launcher]):
        os.environ[name] = os.environ.get(source, '0')
    os.environ.setdefault('MASTER_PORT', '29500')
    arguments = {}
    if options.get('timeout') is not None:
        arguments['timeout'] = timedelta(seconds=options['timeout'])
    backend = options.get('backend', 'nccl')
    dist.init_process_group(
        'gloo' if backend == 'nccl' else backend, **arguments
    )


def _set_wrapper(cfg: Config) -> None:
    """A process on a CPU has no device of its own, which DDP asks for."""
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = ConfigDict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    wrapper = cfg.model_wrapper_cfg
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    kind = MODEL_WRAPPERS.get(type_name(wrapper))
    if kind is None or issubclass(kind, DistributedDataParallel):
        wrapper.setdefault('device_ids', None)
