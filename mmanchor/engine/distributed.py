"""Starts the communication of distributed processes, on GPUs or CPUs."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.registry import MODEL_WRAPPERS
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..utils.config import type_name

# The variables in which each launcher gives a process its rank, the number of
# processes and its rank on the node.
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
# of MMEngine's FlexibleRunner; by name, since some need other packages
SHARDING_STRATEGIES = (
    'FSDPStrategy',
    'DeepSpeedStrategy',
    'ColossalAIStrategy',
)
# wrappers of PyTorch, DeepSpeed and ColossalAI, from which MMEngine's inherit
SHARDING_WRAPPERS = (
    'FullyShardedDataParallel',
    'MMFullyShardedDataParallel',
    'FSDPModule',
    'DeepSpeedEngine',
    'MMDeepSpeedEngineWrapper',
    'CollosalAIModelWrapper',  # spelt so in MMEngine
)
PORTS = range(20000, 30000)  # Operating systems assign higher ports.


def init_distributed(cfg: Config) -> None:
    """Prepare the process group of a run, before its runner is built.

    On GPUs, MMEngine creates the group itself; this function only sets the
    environment variables that it reads. On CPUs, where MMEngine would fail,
    this function creates a group with gloo, and sets ``model_wrapper_cfg``
    unless the config does. Without a launcher it does nothing.

    Args:
        cfg (Config): The config of a run, which is changed in place.

    Raises:
        ValueError: The process was not started by the config's launcher, or
            ``model_wrapper_cfg`` splits weights, as FSDP does.

    Example:
        >>> cfg = Config(dict(launcher='none'))
        >>> init_distributed(cfg)
        >>> cfg
        Config (path: None): {'launcher': 'none'}
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    _check_wrapper(cfg)
    on_cpu = get_device() == 'cpu'
    if not is_distributed():
        _check_environment(launcher)
        options = cfg.get('env_cfg', {}).get('dist_cfg') or {}
        if launcher == 'slurm':
            _set_master_address(options.get('port'))
        if on_cpu:
            _init_on_cpu(launcher, options)
    if on_cpu:
        _set_wrapper(cfg)


def check_whole_weights(runner) -> None:
    """Raise if a runner splits the weights of a model between processes.

    Raises:
        ValueError: Its strategy, or the wrapper of its model, shards a model,
            as those of FSDP, DeepSpeed and ColossalAI do. A reference bank is
            filled, references are folded and checkpoints are read with whole
            weights.
    """
    strategy = type(getattr(runner, 'strategy', None))
    _refuse_sharding(
        strategy, SHARDING_STRATEGIES, '`runner_type` and `strategy`'
    )
    model = getattr(runner, 'model', None)
    if isinstance(model, nn.Module):
        for kind in {type(module) for module in model.modules()}:
            _refuse_sharding(kind, SHARDING_WRAPPERS, '`model_wrapper_cfg`')


def _check_wrapper(cfg: Config) -> None:
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if 'type' not in wrapper:
        return
    kind = wrapper['type']
    if isinstance(kind, str):
        # FSDP and DeepSpeed may not be there to be looked up
        kind = MODEL_WRAPPERS.get(kind) or type(type_name(wrapper), (), {})
    _refuse_sharding(kind, SHARDING_WRAPPERS, '`model_wrapper_cfg`')


def _refuse_sharding(kind: type, known: Sequence[str], settings: str) -> None:
    for one in kind.__mro__:
        if one.__name__ in known:
            raise ValueError(
                'Expected whole weights in each process, but got '
                f'{one.__name__}, which splits them, so that no reference '
                f'bank can be filled. Remove {settings}, which leaves '
                'MMDistributedDataParallel.'
            )


def slurm_port(environment: Mapping[str, str]) -> int:
    """Return the port on which the tasks of a Slurm step connect.

    It is computed from the job and step, so that all tasks of a step get the
    same port, and two steps on a node get different ones.

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
    """Return the first node in a list of Slurm.

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
    # A batch script has the variables of its job, but it is no task of it, and
    # would wait for the others forever.
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


def _set_master_address(port) -> None:
    environment = os.environ
    # A node may be unable to resolve its own name.
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
    """Set `device_ids=None`, which DDP requires of a process on a CPU."""
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
