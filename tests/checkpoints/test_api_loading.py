"""Functions of the Python API run no code from a checkpoint by themselves."""

import os

import pytest
import torch

from mmanchor.checkpoints.model_loading import load_anchored, load_classifier
from mmanchor.checkpoints.safe_loading import FLAG_ADVICE, checkpoint_loading
from mmanchor.export.fold import write_folded
from mmanchor.export.onnx import write_export
from mmanchor.suite.candidates import Candidate


class MakesAFolder:
    """What it is unpickled as is a call; it gives None."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(params=['meta', 'message_hub'])
def malicious(request, checkpoint, tmp_path):
    """A good checkpoint with code in it."""
    saved = torch.load(checkpoint, weights_only=False)
    saved[request.param]['more'] = MakesAFolder(tmp_path / 'created')
    torch.save(saved, tmp_path / 'malicious.pth')
    return str(tmp_path / 'malicious.pth')


def load_candidate(cfg, path, out, allow_code=False):
    Candidate('name', cfg, path, 'config.py', allow_code).load('cpu')


FUNCTIONS = {
    'load_classifier': lambda cfg, path, out, **rest: load_classifier(
        cfg, path, **rest
    ),
    'load_anchored': lambda cfg, path, out, **rest: load_anchored(
        cfg, path, **rest
    ),
    'write_folded': lambda cfg, path, out, **rest: write_folded(
        cfg, path, out, **rest
    ),
    'write_export': lambda cfg, path, out, **rest: write_export(
        cfg, path, out / 'm.pt2', **rest
    ),
    'Candidate': load_candidate,
}


@pytest.mark.parametrize('function', FUNCTIONS.values(), ids=FUNCTIONS)
def test_code_is_run_only_where_it_is_allowed(
    function, malicious, small_config, tmp_path
):
    cfg = small_config(**{'custom_hooks.0.num_references': 3})
    with pytest.raises(
        ValueError,
        match='malicious.pth asks for .*mkdir: loading it can run code.*'
        'If you trust whoever wrote it, pass `allow_code=True`',
    ):
        function(cfg, malicious, tmp_path / 'out')
    assert not (tmp_path / 'created').exists()
    function(cfg, malicious, tmp_path / 'out', allow_code=True)
    assert (tmp_path / 'created').exists()


def test_tools_name_the_flag_they_have(malicious, small_config):
    with (
        checkpoint_loading(advice=FLAG_ADVICE),
        pytest.raises(ValueError, match='add `--allow-code-in-checkpoints`'),
    ):
        load_anchored(small_config(), malicious)
    with (
        checkpoint_loading(advice=''),
        pytest.raises(ValueError, match='Use another checkpoint.$'),
    ):
        load_anchored(small_config(), malicious)


def test_an_argument_goes_before_what_is_around_it(
    malicious, small_config, tmp_path
):
    with checkpoint_loading(allow_code=True), pytest.raises(ValueError):
        load_anchored(small_config(), malicious)
    assert not (tmp_path / 'created').exists()
    with checkpoint_loading():
        load_anchored(small_config(), malicious, allow_code=True)
    assert (tmp_path / 'created').exists()
