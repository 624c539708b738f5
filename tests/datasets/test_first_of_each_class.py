"""A small training set, the same for everyone who has the folders."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpretrain.registry import DATASETS


@pytest.fixture
def folders(tmp_path):
    """Class folders of 5 and 3 images, named in another order than made."""
    for name, count in (('cat', 5), ('dog', 3)):
        (tmp_path / name).mkdir()
        for i in reversed(range(count)):
            cv2.imwrite(
                str(tmp_path / name / f'{i}.png'),
                np.full((4, 4, 3), i, np.uint8),
            )
    return tmp_path


def first(folder, count, **kwargs):
    return DATASETS.build(
        dict(
            type='FirstOfEachClass',
            data_root=str(folder),
            images_per_class=count,
            **kwargs,
        )
    )


def taken(dataset):
    """Folder, file and label of each image."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [
        (*Path(one['img_path']).parts[-2:], one['gt_label']) for one in infos
    ]


def test_the_first_images_of_each_class_by_name(folders):
    dataset = first(folders, 2)
    assert taken(dataset) == [
        ('cat', '0.png', 0),
        ('cat', '1.png', 0),
        ('dog', '0.png', 1),
        ('dog', '1.png', 1),
    ]
    assert dataset.metainfo['classes'] == ('cat', 'dog')


def test_images_go_through_the_pipeline(folders):
    steps = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    item = first(folders, 3, pipeline=steps)[5]
    assert item['inputs'].unique().tolist() == [2]
    assert int(item['data_samples'].gt_label) == 1


def test_a_class_of_fewer_images_is_refused(folders):
    assert len(first(folders, 3)) == 6
    with pytest.raises(
        ValueError, match='4 images of each class.*class 1 has 3. Lower'
    ):
        first(folders, 4)


def test_some_class_folders_in_an_order_of_their_own(folders):
    dataset = first(folders, 1, folders=['dog', 'cat'])
    assert taken(dataset) == [('dog', '0.png', 0), ('cat', '0.png', 1)]
    assert dataset.metainfo['classes'] == ('dog', 'cat')
    assert len(first(folders, 4, folders=['cat'])) == 4
    with pytest.raises(ValueError, match="got 'dig'. Did you mean 'dog'"):
        first(folders, 1, folders=['dig'])


@pytest.mark.parametrize('count', [0, -1, 2.5, True, None])
def test_a_number_that_is_none_is_refused(count, folders):
    with pytest.raises(ValueError, match='`images_per_class` to be a posi'):
        first(folders, count)
