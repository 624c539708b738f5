import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.model import PretrainedInit

from mmanchor import CONFIG_DIR
from mmanchor.utils.config import (
    _shipped,
    config_path,
    pretrained_files,
    type_name,
)


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


def test_the_pretrained_flag_of_a_backbone_is_not_read_as_a_file():
    assert not list(
        pretrained_files(
            dict(
                backbone=dict(type='TIMMBackbone', pretrained=True),
                head=dict(type='LinearClsHead'),
            )
        )
    )


@pytest.mark.parametrize(
    'name',
    [
        'digits/vit-w64_digits.py',
        'digits/vit-w64_digits',
        'configs/digits/vit-w64_digits.py',
        'vit-w64_digits.py',
        str(CONFIG_DIR / 'digits/vit-w64_digits.py'),
    ],
)
def test_a_config_is_found_by_name_and_by_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path(name) == CONFIG_DIR / 'digits/vit-w64_digits.py'


def test_a_file_of_ones_own_comes_before_one_of_the_same_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'vit-w64_digits.py').write_text('')
    assert config_path('vit-w64_digits.py').resolve().parent == tmp_path


@pytest.mark.parametrize(
    'name,advice',
    [
        ('digit/vit-w64_digits.py', "Did you mean 'digits/vit-w64_digits'"),
        ('vit-w64_digit', "Did you mean 'digits/vit-w64_digits'"),
        ('nowhere/to/be/seen.py', '`mmanchor configs` lists'),
    ],
)
def test_a_config_that_is_not_there_is_named_with_the_nearest(name, advice):
    with pytest.raises(FileNotFoundError, match=f'got {name!r}.*{advice}'):
        config_path(name)


def test_a_name_that_several_configs_have_is_refused(tmp_path, monkeypatch):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'same.py').write_text('')
    monkeypatch.setattr('mmanchor.utils.config.CONFIG_DIR', tmp_path)
    with pytest.raises(
        ValueError,
        match="got 'same', which is the name of .*/same.*Add the folder",
    ):
        config_path('same')


def test_a_clone_without_links_has_its_folders_beside_the_package(tmp_path):
    package = tmp_path / 'mmanchor'
    (package / '.mim').mkdir(parents=True)
    (package / '.mim' / 'configs').write_text('../../configs')
    assert _shipped(package, 'configs') == tmp_path / 'configs'
