import pytest
import torch
from helpers.builders import image_bytes
from helpers.reference_runs import hook
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmanchor.checkpoints.model_loading import load_anchored


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


@pytest.mark.parametrize(
    'change,message',
    [
        (
            {'model.head.num_classes': 5},
            'differs in 2: size mismatch for head',
        ),
        (
            {
                'model.backbone.out_indices': (2,),
                'model.head.in_channels': 32,
                'model.backbone.depth': 34,
            },
            'three.pth differs in',
        ),
    ],
)
def test_weights_that_do_not_all_fit_are_refused(
    small_config, checkpoint, change, message
):
    with pytest.raises(ValueError, match=message):
        load_anchored(small_config(**change), checkpoint)


def test_tables_that_the_host_makes_anew_are_not_missed(tmp_path):
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
