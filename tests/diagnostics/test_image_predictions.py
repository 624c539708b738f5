"""Image files in, answers out: the command and its Python form."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmanchor.diagnostics.image_predictions import (
    ImagePredictor,
    find_images,
    make_parser,
    predict,
)
from mmanchor.suite.candidates import Candidate


@pytest.fixture(scope='module')
def predictor(trained):
    candidate = Candidate(
        'a', trained.anchored_cfg, trained.anchored[1], 'anchored.py'
    )
    return ImagePredictor(candidate, batch_size=2, measures=['energy'])


@pytest.fixture
def images(tmp_path):
    """Five images, of which the third can't be read."""
    rng = np.random.default_rng(0)
    paths = []
    (tmp_path / 'images').mkdir()
    for i in range(5):
        path = tmp_path / f'images/{i}.png'
        pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    (tmp_path / 'images/2.png').write_bytes(b'no image')
    return paths


def run(model, *words):
    arguments = [*model, *map(str, words), '--device', 'cpu']
    return predict(make_parser().parse_args([*arguments, '--workers', '1']))


def test_predictions_are_the_model_s_and_unreadable_images_are_named(
    predictor, images
):
    found = predictor(images)
    assert [one['image'] for one in found] == images
    assert ['error' in one for one in found] == [False] * 2 + [True] + [
        False
    ] * 2
    model = predictor.model
    for i in (0, 1, 3, 4):
        pixels = np.array(Image.open(images[i])).transpose(2, 0, 1)
        inputs = torch.from_numpy(pixels.copy())[None]
        with torch.no_grad():
            (sample,) = model.test_step(dict(inputs=inputs, data_samples=None))
        one = found[i]
        assert one['label'] == int(sample.pred_label)
        assert one['name'] == str(one['label'])
        assert one['confidence'] == pytest.approx(
            float(sample.pred_score.max()), abs=1e-5
        )
        assert one['spread'] == pytest.approx(
            float(sample.pred_std.mean()), abs=1e-5
        )
        assert one['num_references'] == 3
        assert one['energy'] < 0 or one['energy'] >= 0


def test_json_lines_of_a_folder_name_unreadable_images(
    trained, images, tmp_path, capsys
):
    folder = tmp_path / 'images'
    assert run(trained.standard, folder, '--json') == 1
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert [one['image'] for one in lines] == images
    assert 'spread' not in lines[0] and 'error' in lines[2]
    assert f'Not read: {images[2]}' in told.err


def test_an_interrupted_file_is_continued_and_another_model_is_refused(
    trained, images, tmp_path, monkeypatch, capsys
):
    out = tmp_path / 'out.jsonl'
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'.join(images)))
    run(trained.anchored, '-', '--out', out, '--num-references', 2)
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 6 and 'sha256' in lines[0]
    out.write_text(''.join(lines[:3]) + lines[3][:9])  # killed
    again = ['--out', out, '--num-references', 2]
    assert run(trained.anchored, *images, *again) == 1
    assert out.read_text() == whole
    assert '3 new.' in capsys.readouterr().out
    for more in (
        ['--num-references', 3],
        ['--cfg-options', 'val_dataloader.dataset.pipeline.0.scale=8'],
        ['--cfg-options', 'data_preprocessor.std=[1,1,1]'],
        ['--cfg-options', 'model.average=probabilities'],
    ):
        with pytest.raises(ValueError, match='of the same model, references'):
            run(trained.anchored, *images, *again, *more)
    # what could not be read is tried again, and counts until it can be
    assert run(trained.anchored, *images, *again) == 1
    assert '1 new.' in capsys.readouterr().out
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(images[2])
    assert run(trained.anchored, *images, *again) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    assert sorted(one['image'] for one in lines) == images
    assert not any('error' in one for one in lines)


def test_a_table_and_a_figure_of_the_first_image(
    trained, images, tmp_path, capsys
):
    figure = tmp_path / 'figure.png'
    assert not run(trained.anchored, images[0], '--figure', figure)
    assert 'confidence' in capsys.readouterr().out
    assert figure.read_bytes()[:4] == b'\x89PNG'
    figure.unlink()
    (tmp_path / 'empty.png').touch()
    bad = [images[2], str(tmp_path / 'empty.png')]
    assert run(trained.anchored, *bad, images[3], '--figure', figure) == 2
    assert figure.exists()
    shown = capsys.readouterr()
    assert f'Drawn: {images[3]}, the first that can be read' in shown.err
    assert f'Not read: {bad[1]}: it is no image\n' in shown.err
    assert 'OpenCV' not in shown.err and 'confidence' in shown.out
    figure.unlink()
    assert run(trained.anchored, *bad, '--figure', figure) == 2
    assert not figure.exists()
    assert 'No figure: none of the images' in capsys.readouterr().err


def test_the_figure_has_a_dot_for_each_reference(predictor, images):
    _, right = predictor.figure(images[0]).axes
    assert [len(line.get_xdata()) for line in right.lines] == [3] * 5


def test_a_relative_folder_is_found_from_the_working_directory(
    tmp_path, monkeypatch
):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.png').touch()
    monkeypatch.chdir(tmp_path)
    assert find_images(['images', 'b.png']) == ['images/a.png', 'b.png']


def test_a_folder_without_images_and_an_empty_list_are_refused(
    tmp_path, monkeypatch
):
    with pytest.raises(ValueError, match='images in the folder .*got none'):
        find_images([str(tmp_path)])
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'))
    with pytest.raises(ValueError, match='to predict, but got none'):
        find_images(['-'])


def test_a_batch_size_below_one_is_refused(trained, images):
    with pytest.raises(ValueError, match='--batch-size to be at least 1'):
        run(trained.standard, images[0], '--batch-size', 0)


def test_a_file_that_is_no_image_has_no_figure(predictor, images):
    with pytest.raises(ValueError, match='to be an image, but got: it is no'):
        predictor.figure(images[2])
