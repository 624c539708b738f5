"""How processes connect, and the messages if they can not."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.model import MMFullyShardedDataParallel
from mmengine.runner import Runner

from mmanchor.engine import distributed
from mmanchor.engine.distributed import (
    VARIABLES,
    first_host,
    init_distributed,
    slurm_port,
)
from mmanchor.engine.launch import build_runner

NAMES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
STEP = dict(
    SLURM_PROCID='0',
    SLURM_NTASKS='1',
    SLURM_LOCALID='0',
    SLURM_NODELIST='host1',
    SLURM_NNODES='1',
    SLURM_JOB_ID='7',
    SLURM_STEP_ID='0',
)


@pytest.fixture
def environment(monkeypatch):
    """Set the variables of a launcher, and none of another."""
    for name in [*os.environ]:
        if name.startswith(('SLURM_', 'OMPI_')):
            monkeypatch.delenv(name)
    for name in NAMES:
        monkeypatch.setenv(name, '')  # so that it is taken off afterwards
        monkeypatch.delenv(name)

    def set_variables(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield set_variables
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize(
    'launcher,missing',
    [
        ('pytorch', 'RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT'),
        ('slurm', 'SLURM_PROCID, SLURM_NTASKS, SLURM_NODELIST, SLURM_STEP_ID'),
        ('mpi', 'OMPI_COMM_WORLD_RANK, .*MASTER_ADDR'),
    ],
)
def test_a_process_without_its_launcher_is_refused(
    environment, launcher, missing
):
    with pytest.raises(
        ValueError,
        match=f'^Expected a .*with {missing} in its environment, but got '
        f'no {missing}. Start with .*, or drop --launcher.',
    ):
        init_distributed(Config(dict(launcher=launcher)))


def test_a_batch_script_is_no_task(environment):
    environment(STEP)
    os.environ.pop('SLURM_STEP_ID')
    with pytest.raises(
        ValueError,
        match='a task of srun.* got no SLURM_STEP_ID. Start with '
        'tools/slurm_train.sh, or srun',
    ):
        init_distributed(Config(dict(launcher='slurm')))


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.parametrize('launcher', VARIABLES)
def test_without_gpus_the_process_group_uses_gloo(environment, launcher):
    environment(
        {
            **STEP,
            **dict(zip(VARIABLES[launcher], '010')),
            'MASTER_ADDR': '127.0.0.1',
            'MASTER_PORT': free_port(),
        }
    )
    cfg = Config(
        dict(
            launcher=launcher,
            find_unused_parameters=True,
            env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=300)),
        )
    )
    init_distributed(cfg)
    assert (dist.get_backend(), dist.get_world_size()) == ('gloo', 1)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )
    init_distributed(cfg)  # a second runner of the same process
    model = torch.nn.Linear(1, 1)
    runner = Runner.__new__(Runner)
    runner.cfg, runner._launcher, runner._distributed = cfg, launcher, True
    wrapped = runner.wrap_model(cfg.model_wrapper_cfg, model)
    assert wrapped.module is model


def test_a_slurm_step_connects_at_its_first_node_on_its_own_port(
    environment, monkeypatch
):
    joined = []
    monkeypatch.setattr(
        dist, 'init_process_group', lambda *args, **kwargs: joined.append(args)
    )
    environment(
        {
            **STEP,
            'SLURM_NNODES': '2',
            'SLURM_NODELIST': 'node[01-02]',
            'SLURM_PROCID': '3',
            'SLURM_NTASKS': '4',
            'SLURM_LOCALID': '1',
        }
    )
    init_distributed(Config(dict(launcher='slurm')))
    expected = ['3', '4', '1', 'node01', '20070']
    assert [os.environ[name] for name in NAMES] == expected
    assert joined == [('gloo',)]


@pytest.mark.parametrize('given,port', [({}, '5'), (dict(port=6), '6')])
def test_a_given_port_is_used(environment, monkeypatch, given, port):
    monkeypatch.setattr(dist, 'init_process_group', lambda *_, **__: None)
    environment({**STEP, 'MASTER_PORT': '5'})
    init_distributed(
        Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=given)))
    )
    assert os.environ['MASTER_PORT'] == port


def test_on_gpus_mmengine_creates_the_process_group(environment, monkeypatch):
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    environment(STEP)
    cfg = Config(dict(launcher='slurm'))
    init_distributed(cfg)
    assert not dist.is_initialized() and 'model_wrapper_cfg' not in cfg
    # which would take 29500 for every job
    assert os.environ['MASTER_PORT'] == '20070'


@pytest.mark.parametrize(
    'given,device_ids',
    [
        (dict(static_graph=True), [None]),
        (dict(type='DistributedDataParallel'), [None]),
        (dict(type='MMSeparateDistributedDataParallel'), [None]),
    ],
)
def test_a_model_wrapper_in_the_config_is_used(environment, given, device_ids):
    environment(dict(STEP, MASTER_PORT=free_port()))
    cfg = Config(dict(launcher='slurm', model_wrapper_cfg=given))
    init_distributed(cfg)
    wrapper = dict(cfg.model_wrapper_cfg)
    assert [
        wrapper.pop('device_ids') for _ in range('device_ids' in wrapper)
    ] == device_ids
    assert wrapper == {'type': 'MMDistributedDataParallel', **given}


@pytest.mark.parametrize(
    'nodes,first',
    [
        ('one', 'one'),
        ('a-b,c', 'a-b'),
        ('n[007-120]', 'n007'),
        ('n[3,5],m1', 'n3'),
        ('rack[0-3]n[10-12]', 'rack0n10'),
    ],
)
def test_first_host(nodes, first):
    assert first_host(nodes) == first


def test_ports_of_steps_and_of_neighbouring_jobs_differ():
    ports = [
        slurm_port(dict(SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step)))
        for job in range(990, 1010)
        for step in range(10)
    ]
    assert len(set(ports)) == len(ports)
    assert 20000 <= min(ports) and max(ports) < 30000


class DeepSpeedStrategy:
    """Stands for MMEngine's, which only builds with DeepSpeed installed."""


class NamedElsewhere(FSDPStrategy):
    """A user's subclass."""

    def __init__(self):
        pass


@pytest.mark.parametrize(
    'strategy, name',
    [
        (NamedElsewhere, 'FSDPStrategy'),
        (DeepSpeedStrategy, 'DeepSpeedStrategy'),
    ],
)
def test_strategies_that_split_weights_are_refused_by_name(
    strategy, name, run
):
    runner = run()
    runner.strategy = strategy()
    with pytest.raises(ValueError, match=f'{name}, which splits them'):
        runner.call_hook('before_run')


class FullyShardedDataParallel(torch.nn.Module):
    """Stands for PyTorch's, which needs a process group."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize('wrapped', ['model', 'backbone'])
def test_wrappers_that_split_weights_are_refused_by_name(wrapped, run):
    runner = run()
    if wrapped == 'model':
        runner.model = FullyShardedDataParallel(runner.model)
    else:
        runner.model.backbone = FullyShardedDataParallel(runner.model.backbone)
    with pytest.raises(
        ValueError, match='got FullyShardedDataParallel, which splits them'
    ):
        runner.call_hook('before_run')


@pytest.mark.parametrize(
    'kind',
    [
        'MMFullyShardedDataParallel',
        'mmengine.MMFullyShardedDataParallel',
        MMFullyShardedDataParallel,
        'MMDeepSpeedEngineWrapper',
    ],
)
def test_the_tool_refuses_wrappers_that_split_weights(kind):
    cfg = Config(dict(launcher='slurm', model_wrapper_cfg=dict(type=kind)))
    with pytest.raises(
        ValueError, match='which splits them.*Remove `model_wrapper_cfg`'
    ):
        init_distributed(cfg)


def test_the_tool_refuses_to_split_weights_before_it_builds_a_model(
    small_config,
):
    cfg = small_config(
        runner_type='FlexibleRunner', strategy=dict(type='FSDPStrategy')
    )
    with pytest.raises(ValueError, match='FSDPStrategy, which splits them'):
        build_runner(cfg)
