import json
import runpy
import sys
from pathlib import Path

import pytest
from benchmark_settings import BenchmarkSettings
from distributed_steps import ddp_table, run_ddp_benchmark

TOOL = Path(__file__).parents[3] / 'tools/benchmark_ddp.py'
FEW = dict(batch_size=4, rounds=2, warmup=0, size=16)


@pytest.mark.slow
def test_anchoring_sends_the_gradient_of_the_stem_and_nothing_else(
    plain_config, tmp_path, monkeypatch, capsys
):
    flags = [f'--{name.replace("_", "-")}={n}' for name, n in FEW.items()]
    monkeypatch.setattr(
        sys,
        'argv',
        [
            str(TOOL),
            str(plain_config()),
            *flags,
            '--variants',
            'channels-last',
            '--out',
            f'{tmp_path}/out',
        ],
    )
    runpy.run_path(str(TOOL), run_name='__main__')
    results = json.loads((tmp_path / 'out/benchmark_ddp.json').read_text())
    assert results['processes'] == 2
    found = results['variants']['channels-last']
    assert [len(times) for times in found['seconds'].values()] == [2, 2]
    for ratio in (found['ratio_of_seconds'], found['ratio_of_cpu_seconds']):
        assert 0 < ratio['low'] <= ratio['median'] <= ratio['high']
    standard, anchored = (
        found['calls'][name] for name in ('standard', 'anchored')
    )
    assert standard.keys() == anchored.keys() == {'all_reduce'}
    assert len(standard['all_reduce']) == len(anchored['all_reduce']) >= 1
    more = sum(anchored['all_reduce']) - sum(standard['all_reduce'])
    assert more == found['widened_by'] > 0
    assert f'{4 * more}' in capsys.readouterr().out


def test_a_variant_that_fails_is_named():
    results = dict(
        config='c.py',
        processes=2,
        settings=FEW | dict(device='cpu'),
        variants=dict(compile=dict(error='no compiler')),
    )
    column = list(ddp_table(results).columns[2].cells)
    assert column == ['failed: no compiler']


@pytest.mark.parametrize(
    'arguments,message',
    [
        (dict(processes=1), '--processes to be at least 2, but got 1'),
        (dict(variants=['fast']), '--variants to be among plain.*got fast'),
        (dict(variants=[]), '--variants .*got none'),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_ddp_benchmark(
            'c.py', BenchmarkSettings(), str(tmp_path), **arguments
        )


def test_processes_without_a_gpu_each(tmp_path, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 1)
    with pytest.raises(ValueError, match='GPU for each of 2.* but got 1'):
        run_ddp_benchmark(
            'c.py', BenchmarkSettings(device='cuda'), str(tmp_path)
        )
