import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.model import PretrainedInit

from mmanchor.utils.config import pretrained_files, type_name


@pytest.mark.parametrize(
    'config',
    [
        dict(type='LoadImageFromFile'),
        dict(type='mmpretrain.LoadImageFromFile'),
        dict(type=LoadImageFromFile),
        LoadImageFromFile(),
    ],
)
def test_a_type_may_be_a_name_a_class_or_built(config):
    assert type_name(config) == 'LoadImageFromFile'


@pytest.mark.parametrize(
    'model',
    [
        dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
        dict(init_cfg=dict(type=PretrainedInit, checkpoint='a.pth')),
        dict(
            backbone=dict(
                init_cfg=[
                    dict(type='Kaiming', layer='Conv2d'),
                    dict(
                        type='Pretrained',
                        checkpoint='a.pth',
                        prefix='backbone.',
                    ),
                ]
            )
        ),
        dict(pretrained='a.pth', head=None),
    ],
)
def test_pretrained_files_are_found_wherever_they_are_named(model):
    (found,) = pretrained_files(model)
    assert found['checkpoint'] == 'a.pth'


def test_a_backbone_s_flag_is_no_file():
    assert not list(
        pretrained_files(
            dict(
                backbone=dict(type='TIMMBackbone', pretrained=True),
                head=dict(type='LinearClsHead'),
            )
        )
    )
