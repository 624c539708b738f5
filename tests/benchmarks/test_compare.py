import json
import math
import random
import runpy
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.small_models import TwoAnswers  # noqa: F401
from mmengine.model import BaseModule
from mmengine.runner import save_checkpoint
from mmpretrain.registry import MODELS

from mmanchor import CONFIG_DIR
from mmanchor.benchmarks import compare as benchmark
from mmanchor.benchmarks import inference as benchmark_inference
from mmanchor.benchmarks import naive as benchmark_naive
from mmanchor.benchmarks.compare import run_benchmark
from mmanchor.benchmarks.inference import Case, check_answers
from mmanchor.benchmarks.settings import CASES, BenchmarkSettings
from mmanchor.benchmarks.setup import endless_batches, set_up
from mmanchor.benchmarks.table import notes
from mmanchor.utils.provenance import shareable_path

TOOL = Path(__file__).parents[2] / 'tools/benchmark.py'
FEW = dict(
    batch_size=4,
    rounds=2,
    warmup=1,
    min_seconds=0,
    num_candidates=6,
    num_residuals=8,
    size=16,
)


def few(**changes) -> BenchmarkSettings:
    return BenchmarkSettings(**{**FEW, **changes})


@MODELS.register_module()
class TokensOnly(BaseModule):
    """Has no convolution, as T2T-ViT."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.project = torch.nn.Linear(in_channels * 256, 64)

    def forward(self, x):
        return (self.project(x.flatten(1))[:, :, None, None],)


@pytest.fixture
def done(plain_config, tmp_path, monkeypatch, capsys):
    """A run of the tool with every case, and what it printed."""
    path = str(plain_config())
    flags = [f'--{k.replace("_", "-")}={v}' for k, v in FEW.items()]
    monkeypatch.setattr(
        sys, 'argv', ['benchmark.py', path, *flags, '--out', f'{tmp_path}/out']
    )
    runpy.run_path(str(TOOL), run_name='__main__')
    results = json.loads((tmp_path / 'out/benchmark.json').read_text())
    return results, capsys.readouterr().out, tmp_path / 'out'


def test_a_run_writes_and_shows_every_case(done):
    results, printed, out = done
    assert results['settings'] == {
        **few().__dict__,
        'cases': ['train', 'test'],
    }
    assert results['versions']['torch'] == torch.__version__
    assert results['command'].startswith(f'python {shareable_path(TOOL)} ')
    for key in ('device', 'commit', 'clock', 'memory', 'floor', 'tf32'):
        assert key in results
    (found,) = results['configs']
    assert found['image_shape'] == [3, 16, 16]
    names = [f'{g}/{c}' for g, cases in found['groups'].items() for c in cases]
    assert names == CASES
    cases = [c for group in found['groups'].values() for c in group.values()]
    numbers = [
        number
        for case in cases
        for number in (
            *case['time_ratio'].values(),
            case['floor'],
            case['memory_ratio'],
            *case['seconds'],
        )
    ]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert {len(case['seconds']) for case in cases} == {2}
    for group in found['groups'].values():
        standard = group['standard']
        assert set(standard['time_ratio'].values()) == {1.0}
        assert standard['floor'] == standard['memory_ratio'] == 1
    assert all(case['label'] in printed for case in cases)
    assert 'Weights are untrained, so that number says nothing' in printed
    assert (out / 'benchmark.png').read_bytes().startswith(b'\x89PNG')
    assert sorted(path.name for path in out.iterdir()) == [
        'benchmark.json',
        'benchmark.png',
    ]
    # the floors, which no noise of the machine touches
    test = {n: c['operations'] for n, c in found['groups']['test'].items()}
    assert test['folded'] == test['standard'] == test['single']
    assert (
        9
        < test['mean'] / test['folded']
        < 10
        < (test['naive-mean'] / test['folded'])
    )
    train = {n: c['operations'] for n, c in found['groups']['train'].items()}
    assert 1 < train['anchored'] / train['standard'] < 1.05
    assert train['anchored'] == train['naive']
    adaptive = found['groups']['test']['adaptive']
    assert 2 <= adaptive['mean_references'] <= 10
    memory = {n: c['peak_bytes'] for n, c in found['groups']['test'].items()}
    assert memory['mean'] > memory['single'] > memory['standard']


def test_each_round_runs_every_case_once_in_an_order_of_its_own():
    all_runs = []
    cases = {
        name: Case(name, lambda name=name: all_runs.append(name), ())
        for name in 'abcdef'
    }
    settings = few(rounds=5, warmup=2)
    times = benchmark._time(cases, settings, random.Random(0), lambda: None)
    runs = all_runs[12:]  # behind what tells how often to repeat
    rounds = [runs[i : i + 6] for i in range(0, len(runs), 6)]
    assert len(rounds) == 7
    assert all(sorted(names) == list('abcdef') for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert {name: len(t) for name, t in times.items()} == dict.fromkeys(
        'abcdef', 5
    )
    all_runs.clear()
    benchmark._time(cases, settings, random.Random(0), lambda: None)
    assert all_runs[12:] == runs


def test_short_cases_are_repeated_within_a_round():
    runs = {'short': 0, 'long': 0}

    def work(name, seconds):
        runs[name] += 1
        time.sleep(seconds)

    cases = {
        'short': Case('short', lambda: work('short', 0.01), ()),
        'long': Case('long', lambda: work('long', 0.1), ()),
    }
    settings = few(rounds=2, warmup=0, min_seconds=0.1)
    times = benchmark._time(cases, settings, random.Random(0), lambda: None)
    assert runs['long'] == 2 + 2
    assert 2 + 2 * 5 <= runs['short'] <= 2 + 2 * 10
    assert all(taken >= 0.01 for taken in times['short'])
    assert min(times['short']) < 0.1


def test_cases_may_be_chosen_and_come_with_their_standard():
    settings = few(cases=['train/naive', 'test'], batch_size=2)
    assert settings.of_group('train') == ['standard', 'naive']
    assert len(settings.of_group('test')) == 8
    assert few(cases=['test/mean']).of_group('train') == []


@pytest.mark.parametrize(
    'changes,message',
    [
        (dict(cases=['test/nose']), '--cases to be among .* got test/nose'),
        (dict(cases=[]), '--cases .* got none'),
        (dict(batch_size=1), 'batch-size to be at least 2.*got 1'),
        (dict(batch_size=0, cases=['test']), 'batch-size to be at least 1'),
        (dict(rounds=0), '--rounds to be at least 1, but got 0'),
        (dict(warmup=-1), '--warmup to be at least 0'),
        (dict(min_seconds=-1), '--min-seconds to be at least 0, but got -1'),
        (dict(num_references=0), '--num-references to be at least 1'),
        (dict(num_candidates=0), '--num-candidates to be at least 1'),
        (dict(num_residuals=0), '--num-residuals to be at least 1'),
        (dict(size=0), '--size to be at least 1'),
        (dict(device='tpu'), '--device to be cpu or cuda'),
        (dict(data='train'), '--data to be noise or test'),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        few(**changes)


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='a GPU for --device cuda'):
        few(device='cuda')


def test_a_folder_that_can_not_be_written_to_is_refused_first(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(
        ValueError, match='got .*file/out: .*Name another with `--out`'
    ):
        run_benchmark(['gone.py'], few(), str(tmp_path / 'file/out'))


def test_configs_that_can_not_be_compared_are_refused(plain_config, tmp_path):
    path = plain_config(more="model = dict(type='MAE')\n")
    with pytest.raises(ValueError, match='ImageClassifier.*has MAE'):
        set_up(str(path), few())
    by_hand = """
model.update(type='AnchoredImageClassifier', stem=[], image_channels=3,
             backbone=dict(type='TokensOnly', in_channels=6))
data_preprocessor.update(type='AnchoringDataPreprocessor')
"""
    with pytest.raises(ValueError, match='plain counterpart'):
        set_up(str(plain_config(more=by_hand)), few())
    with pytest.raises(ValueError, match='`head`'):
        set_up(str(plain_config(more='model.update(head=None)')), few())
    with pytest.raises(ValueError, match='one --checkpoint for each of 1'):
        run_benchmark([str(path)], few(), str(tmp_path), ['a.pth', 'b.pth'])


def test_a_backbone_without_a_stem_is_not_folded(plain_config):
    more = "model.update(backbone=dict(type='TokensOnly'))"
    settings = few(cases=['test/folded', 'test/mean'])
    setup = set_up(str(plain_config(more=more)), settings)
    assert setup.anchored.stem == []
    cases = benchmark_inference.inference_cases(setup, settings)
    assert list(cases) == ['standard', 'mean']
    assert set(check_answers(setup, settings)) == {'mean'}


def test_a_head_may_have_several_outputs(plain_config):
    settings = few(cases=['test'])
    more = "model['head'].update(type='TwoAnswers')"
    setup = set_up(str(plain_config(more=more)), settings)
    assert max(check_answers(setup, settings).values()) < 1e-5
    cases = benchmark_inference.inference_cases(setup, settings)
    naive, fast = cases['naive-mean'].work(), cases['mean'].work()
    torch.testing.assert_close(fast, naive, rtol=1e-4, atol=1e-4)


def test_answers_are_checked_before_anything_is_timed(
    plain_config, monkeypatch
):
    settings = few(cases=['test'])
    setup = set_up(str(plain_config()), settings)
    found = check_answers(setup, settings)
    assert sorted(found) == ['folded', 'mean', 'single', 'ties']
    assert max(found['folded'], found['mean'], found['single']) < 1e-5
    search = benchmark_naive.naive_search
    monkeypatch.setattr(
        benchmark_naive,
        'naive_search',
        lambda *args: search(*args).roll(1, dims=1),
    )
    with pytest.raises(ValueError, match='Expected transduction to answer'):
        check_answers(setup, settings)
    monkeypatch.setattr(
        benchmark_inference,
        'naive_mean',
        lambda model, images, _: model(images.repeat(1, 2, 1, 1)),
    )
    with pytest.raises(ValueError, match='Expected folded to answer.* 4 of 4'):
        check_answers(setup, settings)


def test_untrained_weights_are_the_plain_model_s_but_for_references(
    plain_config,
):
    setup = set_up(str(plain_config()), few())
    plain, model = setup.plain, setup.anchored
    reference, residual = model.backbone.conv1.weight.chunk(2, dim=1)
    assert torch.equal(residual, plain.backbone.conv1.weight)
    assert not torch.isclose(reference, residual).any()
    assert torch.equal(plain.head.fc.weight, model.head.fc.weight)


def test_a_checkpoint_brings_its_weights_and_its_references(
    plain_config, tmp_path
):
    path = str(plain_config())
    first = set_up(path, few()).anchored
    first.reference_bank.fill(torch.full((2, 3, 16, 16), 7).byte())
    checkpoint = str(tmp_path / 'anchored.pth')
    save_checkpoint(dict(state_dict=first.state_dict()), checkpoint)
    setup = set_up(path, few(), checkpoint)
    for key, value in first.backbone.state_dict().items():
        assert torch.equal(setup.anchored.backbone.state_dict()[key], value)
    assert torch.equal(setup.plain.head.fc.weight, first.head.fc.weight)
    assert len(setup.references) == 10
    assert (setup.references[:2] == 7).all()
    assert not (setup.references[2:] == 7).all()


def test_notes_say_what_the_number_of_references_is_worth():
    used = dict(test=dict(adaptive=dict(mean_references=2.5)))
    noise, real = few().__dict__, few(data='test').__dict__
    found = dict(checkpoint='a.pth', groups=used)
    assert notes(found, noise)[1:] == [
        'adaptive used 2.5 references an image.',
        'Images are noise, so that number says nothing.',
    ]
    assert notes(found, real)[1:] == ['adaptive used 2.5 references an image.']
    assert notes(dict(checkpoint=None, groups={}), noise)[1:] == [
        'Weights are untrained.'
    ]


def test_images_may_be_those_of_the_test_set():
    path = CONFIG_DIR / 'digits/resnet18-w16_anchored-masked_digits.py'
    setup = set_up(str(path), few(data='test'))
    assert setup.images.shape == (16, 3, 16, 16)
    assert setup.residual_pairs.shape == (8, 2, 3, 16, 16)
    # digits have a dark ground, noise has none
    assert (setup.images == 0).float().mean() > 0.2
    with pytest.raises(ValueError, match=r'\(3, 8, 8\), but got \(3, 16, 16'):
        set_up(str(path), few(data='test', size=8))


def test_batches_never_end_and_are_shuffled():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    batches = endless_batches(images, 3, 2, False, seed=0)
    seen = [next(batches) for _ in range(6)]
    order = torch.cat([batch['inputs'].flatten() for batch in seen]).tolist()
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert order[:6] != order[6:]
    labels = [int(s.gt_label) for batch in seen for s in batch['data_samples']]
    assert labels == [index % 3 for index in order]
