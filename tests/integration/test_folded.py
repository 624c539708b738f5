"""A folded model in the host's tools and inferencers."""

import json

import pytest
import torch
from helpers.builders import image_bytes
from mmcv import imwrite
from mmengine.config import Config
from mmpretrain import (
    FeatureExtractor,
    ImageClassificationInferencer,
    get_model,
)

from mmanchor.engine import launch
from mmanchor.export.fold import fold_checkpoint


@pytest.fixture
def folded(trained, tmp_path):
    """A config file and a checkpoint."""
    cfg = Config.fromfile(trained[0])
    cfg.work_dir = str(tmp_path / 'work')
    fold_checkpoint(cfg, trained[1], tmp_path)
    return str(tmp_path / 'folded.py'), str(tmp_path / 'folded.pth')


def test_the_host_s_test_tool_gives_the_anchored_model_s_metrics(
    tool, trained, folded, tmp_path
):
    expected = launch.test(
        [
            *trained,
            '--num-references',
            '1',
            '--work-dir',
            str(tmp_path / 'anchored'),
        ]
    )
    out = tmp_path / 'metrics.json'
    tool('test.py', *folded, '--out', out, '--out-item', 'metrics')
    found = json.loads(out.read_text())
    assert found == pytest.approx(expected, rel=1e-4)
    assert 'accuracy/top1' in found


def test_inferencers(trained, folded, tmp_path):
    photo = str(tmp_path / 'photo.png')
    imwrite(image_bytes(1, seed=7)[0].permute(1, 2, 0).numpy(), photo)
    model = get_model(*trained)
    model.reference_bank.use(1)
    for inferencer, key in (
        (ImageClassificationInferencer, 'pred_scores'),
        (FeatureExtractor, 0),
    ):
        ours, theirs = (
            torch.as_tensor(each(photo)[0][key])
            for each in (inferencer(*folded), inferencer(model))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_flops_tool(tool, folded, capsys):
    tool('analysis_tools/get_flops.py', folded[0], '--shape', 16)
    assert 'Flops: ' in capsys.readouterr().out
