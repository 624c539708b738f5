"""The speed of ``mmanchor predict`` beside that of the model alone."""

import runpy
import sys
from pathlib import Path

import numpy as np
from helpers.tiny_suites import trained  # noqa: F401
from PIL import Image

TOOL = Path(__file__).parents[3] / 'tools/benchmarks/predict_speed.py'


def test_files_and_tensors_are_predicted_in_turns(
    trained,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    rng = np.random.default_rng(0)
    for index in range(4):
        pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{index}.png')
    words = [*trained.anchored, tmp_path, '--limit', 3, '--rounds', 2]
    monkeypatch.setattr(sys, 'argv', list(map(str, [TOOL, *words])))
    runpy.run_path(str(TOOL), run_name='__main__')
    printed = capsys.readouterr().out
    assert '3 images: ' in printed and '2 rounds)' in printed
