"""``tools/threshold.py``, and predictions that use its threshold."""

import json

import numpy as np
import pytest
from PIL import Image

from mmanchor.diagnostics.image_predictions import make_parser, predict
from mmanchor.suite.abstention_cli import choose_threshold


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


def test_a_threshold_is_saved_checked_and_used(choose, tmp_path, capsys):
    config, path = choose('anchored', '--max-error', 0.999)
    saved = json.loads(path.with_suffix('.threshold.json').read_text())
    assert saved['K = 3']['num_images'] == 20
    rows = capsys.readouterr().out
    for name in ('clean, held out', 'clean, the rest', 'Arrays'):
        assert name in rows
    pixels = np.random.default_rng(0).integers(256, size=(16, 16, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'a.png')

    def answer():
        words = [config, str(path), str(tmp_path / 'a.png')]
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
