import os

import pytest
import torch
from helpers.builders import image_bytes
from helpers.reference_runs import hook
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmanchor.checkpoints.model_loading import load_anchored, load_classifier
from mmanchor.checkpoints.safe_loading import FLAG_ADVICE, checkpoint_loading
from mmanchor.export.fold import fold_checkpoint
from mmanchor.export.onnx import export_checkpoint
from mmanchor.suite.candidates import Candidate


def test_an_anchored_model_is_loaded_whole(small_config, checkpoint):
    model, saved = load_anchored(small_config(), checkpoint)
    assert not model.training
    weights = model.state_dict()
    assert torch.equal(
        weights['head.fc.weight'], saved['state_dict']['head.fc.weight']
    )
    assert len(model.reference_bank.in_use) == 3


def test_a_plain_config_is_refused(small_config, checkpoint):
    with pytest.raises(
        ValueError,
        match='AnchoredImageClassifier, but .*ImageClassifier'
        r'\. Name the config that .*three.pth was trained with',
    ):
        load_anchored(small_config(''), checkpoint)


def test_weights_that_do_not_all_fit_are_refused(small_config, checkpoint):
    other_backbone = {
        'model.backbone.out_indices': (2,),
        'model.head.in_channels': 32,
        'model.backbone.depth': 34,
    }
    for change, message in (
        ({'model.head.num_classes': 5}, 'in 2: size mismatch for head'),
        (other_backbone, 'three.pth differs in'),
    ):
        with pytest.raises(ValueError, match=message):
            load_anchored(small_config(**change), checkpoint)


def test_tables_that_mmpretrain_recomputes_are_not_missing(tmp_path):
    """SwinTransformerV2 takes its own out of every checkpoint."""
    arch = dict(
        embed_dims=16,
        depths=[1, 1],
        num_heads=[1, 2],
        extra_norm_every_n_blocks=0,
    )
    cfg = Config(
        dict(
            model=dict(
                type='AnchoredImageClassifier',
                backbone=dict(
                    type='SwinTransformerV2',
                    arch=arch,
                    out_indices=(1,),
                    img_size=32,
                    window_size=4,
                ),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=32),
            )
        )
    )
    model = MODELS.build(cfg.model)
    model.reference_bank.fill(image_bytes(2, size=32))
    path = str(tmp_path / 'swin.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    loaded, _ = load_anchored(cfg, path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), model.eval()(images))
    weights = model.state_dict()
    del weights['backbone.norm1.weight']
    torch.save(dict(state_dict=weights), path)
    with pytest.raises(ValueError, match='differs in 1: backbone.norm1.wei'):
        load_anchored(cfg, path)


def test_a_checkpoint_without_references_is_refused(small_config, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    del saved['state_dict']['reference_bank.images']
    torch.save(saved, checkpoint)
    with pytest.raises(ValueError, match='no reference bank'):
        load_anchored(small_config(**hook()), checkpoint)


class MakesAFolder:
    """What it is unpickled as is a call; it gives None."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def malicious(checkpoint, tmp_path):
    """A good checkpoint with code in it."""
    saved = torch.load(checkpoint, weights_only=False)
    saved['message_hub']['more'] = MakesAFolder(tmp_path / 'created')
    torch.save(saved, tmp_path / 'malicious.pth')
    return str(tmp_path / 'malicious.pth')


def load_candidate(cfg, path, out, allow_code=False):
    Candidate('name', cfg, path, 'config.py', allow_code).load('cpu')


FUNCTIONS = {
    'load_classifier': lambda cfg, path, out, **allow: load_classifier(
        cfg, path, **allow
    ),
    'load_anchored': lambda cfg, path, out, **allow: load_anchored(
        cfg, path, **allow
    ),
    'fold_checkpoint': fold_checkpoint,
    'export_checkpoint': lambda cfg, path, out, **allow: export_checkpoint(
        cfg, path, out / 'm.pt2', **allow
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
        'If you trust its author, pass `allow_code=True`',
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


def test_an_argument_overrides_the_outer_context(
    malicious, small_config, tmp_path
):
    with checkpoint_loading(allow_code=True), pytest.raises(ValueError):
        load_anchored(small_config(), malicious)
    assert not (tmp_path / 'created').exists()
    with checkpoint_loading():
        load_anchored(small_config(), malicious, allow_code=True)
    assert (tmp_path / 'created').exists()
