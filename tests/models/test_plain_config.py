import inspect

import pytest
from helpers.builders import model_config
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS

from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.models import AnchoredImageClassifier
from mmanchor.models.heads import (
    ReferenceMasking,
    ReferenceMaskingLinearClsHead,
)
from mmanchor.models.plain_config import (
    arguments_over_host,
    host_class,
    take_off,
)

# a value for each argument of ours whose default would not do
VALUES = dict(
    image_shape=(3, 16, 16),
    stem=['conv1'],
    image_channels=3,
    masked_target='label',
    mask_coin='rank',
    seed=3,
)
# of the names registered when tests start, so not those of other tests
OURS = {
    name: kind
    for name, kind in MODELS.module_dict.items()
    if inspect.isclass(kind)
    and kind.__module__.startswith('mmanchor.')
    and issubclass(
        kind, (ImageClassifier, ClsDataPreprocessor, ReferenceMasking)
    )
}
ARGUMENTS = [
    (name, argument)
    for name, kind in OURS.items()
    for argument in sorted(arguments_over_host(kind))
]


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


def value_of(kind, argument):
    if argument in VALUES:
        return VALUES[argument]
    for one in kind.__mro__:
        found = inspect.signature(one).parameters.get(argument)
        if found is not None:
            return found.default


def test_every_type_of_ours_takes_more_than_the_host_s():
    assert {name for name, _ in ARGUMENTS} == set(OURS)
    assert {'mask_coin', 'rows_per_pass', 'masked_target', 'image_shape'} <= {
        argument for _, argument in ARGUMENTS
    }


@pytest.mark.parametrize('name,argument', ARGUMENTS)
def test_the_plain_twin_takes_no_argument_of_ours(name, argument):
    kind, cfg = OURS[name], Config(dict(model=model_config()))
    place = cfg.model
    if issubclass(kind, ClsDataPreprocessor):
        place = cfg.model.data_preprocessor
    elif issubclass(kind, ReferenceMasking):
        place = cfg.model.head
    place['type'] = name
    place[argument] = value_of(kind, argument)
    plain = take_off(cfg)
    if issubclass(kind, ReferenceMasking):
        # the arguments of other heads are not those of a linear one
        assert plain.model.head.pop('type') == kind.host_class.__name__
        plain.model.head.type = 'LinearClsHead'
    built = MODELS.build(plain.model)
    assert type(built) is ImageClassifier
    assert type(built.data_preprocessor) is ClsDataPreprocessor


def test_arguments_of_a_user_s_own_class_are_taken_off_as_well():
    class Mine(AnchoredImageClassifier):
        def __init__(self, *args, tint=0, **kwargs):
            super().__init__(*args, **kwargs)

    assert host_class(Mine) is ImageClassifier
    cfg = Config(dict(model=model_config(type=Mine, tint=3, average='logits')))
    assert type(MODELS.build(take_off(cfg).model)) is ImageClassifier


def test_a_typo_is_not_taken_off():
    cfg = Config(dict(model=model_config(head=dict(topkk=3))))
    with pytest.raises(TypeError, match='topkk'):
        MODELS.build(take_off(cfg).model)


def test_a_backbone_is_checked_with_a_coin_for_each_rank(tmp_path):
    cfg = model_config()
    cfg['data_preprocessor'].update(
        type='AnchoringDataPreprocessor', mask_coin='rank'
    )
    path = tmp_path / 'anchored.py'
    path.write_text(f'model = {cfg!r}\n')
    assert check_backbone(path, size=16).failure is None
