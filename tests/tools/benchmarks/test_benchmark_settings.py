"""Settings of the benchmarks."""

import pytest
import torch
from helpers.few_rounds import few_rounds


def test_cases_may_be_chosen_and_come_with_their_standard():
    settings = few_rounds(cases=['train/naive', 'test'], batch_size=2)
    assert settings.cases_of_group('train') == ['standard', 'naive']
    assert len(settings.cases_of_group('test')) == 8
    assert few_rounds(cases=['test/mean']).cases_of_group('train') == []


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
        few_rounds(**changes)


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='a GPU for --device cuda'):
        few_rounds(device='cuda')
