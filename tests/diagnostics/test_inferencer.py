"""MMPretrain's inferencer with the fields of JSON lines."""

import json

import numpy as np
import pytest
from mmpretrain import get_model
from PIL import Image

from mmanchor.diagnostics.image_predictions import make_parser, predict
from mmanchor.diagnostics.inferencer import (
    AnchoredImageClassificationInferencer,
)

Inferencer = AnchoredImageClassificationInferencer


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
    """Three images."""
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    found = [str(folder / f'{i}.png') for i in range(3)]
    for path in found:
        pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return found


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_results_have_the_fields_of_the_json_lines(
    trained, word, paths, capsys
):
    config, checkpoint = getattr(trained, word)
    words = [config, checkpoint, *paths, '--json', '--device', 'cpu']
    options = {}
    if word == 'anchored':
        words += ['--uncertainty', 'energy']
        options = dict(measures=['energy'])
    assert not predict(make_parser().parse_args(words))
    lines = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    inferencer = Inferencer(config, checkpoint, device='cpu', **options)
    found = inferencer(paths, batch_size=2)
    for result, line in zip(found, lines, strict=True):
        assert set(line) <= set(result)
        assert {'pred_scores', 'pred_label', 'pred_score', 'pred_class'} == (
            set(result) - set(line)
        )
        for name, value in line.items():
            expected = (
                pytest.approx(value, rel=1e-4, abs=1e-5)
                if isinstance(value, float)
                else value
            )
            assert result[name] == expected
    assert ('spread' in found[0]) == (word == 'anchored')


def test_arrays_have_no_path_and_samples_are_the_host_s(trained, paths):
    inferencer = Inferencer(*trained.standard, device='cpu')
    (array,) = inferencer(np.array(Image.open(paths[0]))[..., ::-1])
    (file,) = inferencer(paths[0])
    assert 'image' not in array
    assert array['confidence'] == pytest.approx(file['confidence'])
    (sample,) = inferencer(paths[0], return_datasamples=True)
    assert int(sample.pred_label) == file['label']


def test_an_image_that_is_none_is_refused(trained, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    inferencer = Inferencer(*trained.standard, device='cpu')
    with pytest.raises(ValueError, match='a.png to be an image, but'):
        inferencer(str(tmp_path / 'a.png'))


def test_what_was_not_saved_is_refused(trained, paths):
    with pytest.raises(ValueError, match='threshold of this checkpoint for'):
        Inferencer(*trained.anchored, device='cpu', abstain=True)
    with pytest.raises(ValueError, match='sets of a coverage of 0.9 of this'):
        Inferencer(*trained.anchored, device='cpu', coverage=0.9)
    model = get_model(trained.anchored[0], pretrained=trained.anchored[1])
    with pytest.raises(ValueError, match='path of a checkpoint in'):
        Inferencer(model, abstain=True)
    with pytest.raises(ValueError, match='anchored model for measures'):
        Inferencer(*trained.standard, device='cpu', measures=['energy'])
