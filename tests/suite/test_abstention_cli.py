"""``tools/threshold.py``: thresholds, prediction sets, and their use."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmanchor.diagnostics.image_predictions import make_parser, predict
from mmanchor.diagnostics.inferencer import (
    AnchoredImageClassificationInferencer,
)
from mmanchor.evaluation import PredictionSets, Threshold
from mmanchor.evaluation.confidence_intervals import wilson_interval
from mmanchor.suite.abstention_cli import (
    check_sets_table,
    check_table,
    choose_threshold,
)


@pytest.fixture
def choose(copied, suite_file, data):
    """Run the command on a copy of a model."""

    def run(word, *words, more='held_out = dict(share=0.5)'):
        config, path = copied(word)
        suite = str(suite_file(more))
        choose_threshold(
            [
                config,
                str(path),
                *('--suite', suite, '--data-root', str(data)),
                *('--device', 'cpu', *map(str, words)),
            ]
        )
        return config, path

    return run


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(16, 16, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'a.png')
    return str(tmp_path / 'a.png')


def check_sets_are_named(shown):
    for name in ('clean, held out', 'clean, the rest', 'Arrays'):
        assert name in shown


def test_a_threshold_is_saved_checked_and_used(choose, picture, capsys):
    config, path = choose('anchored', '--max-error', 0.999)
    saved = json.loads(path.with_suffix('.threshold.json').read_text())
    assert saved['K = 3']['num_images'] == 20
    check_sets_are_named(capsys.readouterr().out)

    def answer():
        words = [config, str(path), picture]
        words += ['--json', '--abstain', '--device', 'cpu']
        assert not predict(make_parser().parse_args(words))
        return json.loads(capsys.readouterr().out)

    trusted = answer()
    value = saved['K = 3']['value']
    assert trusted['abstains'] == (trusted['confidence'] < value)
    saved['K = 3']['value'] = trusted['confidence'] + 0.01
    path.with_suffix('.threshold.json').write_text(json.dumps(saved))
    assert answer()['abstains'] is True


def test_a_level_out_of_reach_and_a_model_without_spread(choose):
    with pytest.raises(ValueError, match='none of 20 held-out images has'):
        choose('standard', '--max-error', 0.001)
    with pytest.raises(ValueError, match='Use --by confidence'):
        choose('standard', '--max-error', 0.5, '--by', 'spread')


def test_sets_are_saved_checked_and_used(choose, picture, capsys):
    config, path = choose('anchored', '--coverage', 0.9, '--sets', 'aps')
    saved = json.loads(path.with_suffix('.sets.json').read_text())
    assert saved['K = 3']['0.9']['method'] == 'aps'
    assert saved['K = 3']['0.9']['num_images'] == 20
    check_sets_are_named(capsys.readouterr().out)
    words = [config, str(path), picture]
    words += ['--json', '--coverage', '0.9', '--device', 'cpu']
    assert not predict(make_parser().parse_args(words))
    line = json.loads(capsys.readouterr().out)
    inferencer = AnchoredImageClassificationInferencer(
        config, str(path), device='cpu', coverage=0.9
    )
    (result,) = inferencer(picture)
    assert result['set'] == line['set']
    sets = PredictionSets(**saved['K = 3']['0.9'])
    scores = torch.from_numpy(result['pred_scores'])
    assert len(line['set']) == int(sets.of(scores[None]).sum())
    assert line['set'][0] == line['name']
    order = [scores[int(one)].item() for one in line['set']]
    assert order == sorted(order, reverse=True)


def test_too_few_held_out_images_and_a_coverage_that_is_none(choose):
    with pytest.raises(ValueError, match='at least 99 held-out images .*20'):
        choose('standard', '--coverage', 0.99)
    with pytest.raises(ValueError, match='between 0 and 1, but got 90'):
        choose('standard', '--coverage', 90)


def test_the_error_of_trusted_answers_has_an_interval():
    threshold = Threshold('confidence', 0.5, 0.1, 0.95, 0.5, 0.05, 0.1, 100)
    confidence, wrong = np.linspace(0, 1, 100), np.arange(100) >= 95
    (row,) = check_table(threshold, dict(a=[(confidence, wrong)] * 3)).rows
    # three kinds of the same 50 trusted images
    low, high = (100 * end for end in wilson_interval(0.1, 50))
    assert row == ['a', '300', '50.0', f'10.0 [{low:.1f}, {high:.1f}]', '5.0']


def test_the_table_says_where_sets_fail():
    sets = PredictionSets('aps', 0.9, 0.7, 0.0, 2, 100)
    probabilities = torch.tensor([[0.8, 0.2]]).repeat(100, 1)
    zeros, ones = torch.zeros(100).long(), torch.ones(100).long()
    table = check_sets_table(
        sets,
        dict(good=[(probabilities, zeros)], bad=[(probabilities, ones)] * 2),
    )
    assert table.rows == [
        ['good', '100', '100.0', '1.00', 'yes'],
        ['bad', '200', '0.0', '1.00', 'no'],
    ]
