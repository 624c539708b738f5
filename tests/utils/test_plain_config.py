import pytest
from helpers.builders import model_config
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS

from mmanchor.models.heads import ReferenceMaskingLinearClsHead
from mmanchor.utils.plain_config import take_off


@pytest.mark.parametrize(
    'changes',
    [
        dict(masked_target='label'),
        dict(type='ReferenceMaskingLinearClsHead'),
        dict(type=ReferenceMaskingLinearClsHead),
        dict(loss=dict(type='ReferenceMaskingLoss', target='label')),
        dict(
            loss=dict(
                type='ReferenceMaskingLoss',
                loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
            )
        ),
    ],
    ids=str,
)
def test_a_head_becomes_the_host_s_again(changes):
    anchored = model_config(stem=['conv1'], average='probabilities')
    anchored['head'].update(changes)
    anchored['data_preprocessor'].update(mask_prob=0.5, seed=3)
    cfg = Config(dict(model=anchored))
    plain = MODELS.build(take_off(cfg).model)
    assert type(plain) is ImageClassifier
    assert type(plain.head).__name__ == 'LinearClsHead'
    wanted = changes.get('loss', {}).get('loss', {}).get('type')
    assert type(plain.head.loss_module).__name__ == (
        wanted or 'CrossEntropyLoss'
    )
    assert type(plain.data_preprocessor) is ClsDataPreprocessor
    assert cfg.model.type == 'AnchoredImageClassifier'  # as it was
