import pytest
import torch
from reference_runs import hook

from mmanchor.engine.loading import load_anchored


def test_an_anchored_model_is_loaded_whole(small_config, checkpoint):
    model, saved = load_anchored(small_config(), checkpoint)
    assert not model.training
    weights = model.state_dict()
    assert torch.equal(weights['head.fc.weight'],
                       saved['state_dict']['head.fc.weight'])
    assert len(model.reference_bank.in_use) == 3


def test_a_plain_config_is_refused(small_config, checkpoint):
    with pytest.raises(
            ValueError,
            match='AnchoredImageClassifier, but .*ImageClassifier'
            r'\. Name the config that .*three.pth was trained with'):
        load_anchored(small_config(''), checkpoint)


@pytest.mark.parametrize('change,message', [
    ({
        'model.head.num_classes': 5
    }, 'differs in 2: size mismatch for head'),
    ({
        'model.backbone.out_indices': (2, ),
        'model.head.in_channels': 32,
        'model.backbone.depth': 34
    }, 'three.pth differs in'),
])
def test_weights_that_do_not_all_fit_are_refused(small_config, checkpoint,
                                                 change, message):
    with pytest.raises(ValueError, match=message):
        load_anchored(small_config(**change), checkpoint)


def test_a_checkpoint_without_references_is_refused(small_config, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    del saved['state_dict']['reference_bank.images']
    torch.save(saved, checkpoint)
    with pytest.raises(ValueError, match='no reference bank'):
        load_anchored(small_config(**hook()), checkpoint)
