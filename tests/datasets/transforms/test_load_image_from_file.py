"""Images that can't be read are named."""

import numpy as np
import pytest
from mmcv import imwrite
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import TRANSFORMS

from mmanchor.datasets import LoadImageFromFile


@pytest.fixture
def load():
    return TRANSFORMS.build(dict(type='LoadImageFromFile'))


@pytest.mark.parametrize('content', [b'', b'no image', b'\xff\xd8\xff\xe0'])
def test_a_broken_training_image_is_named_by_a_config_as_it_is(
    content, tmp_path
):
    (tmp_path / 'cat').mkdir()
    (tmp_path / 'cat/broken.jpg').write_bytes(content)
    dataset = CustomDataset(
        data_root=str(tmp_path),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )
    with pytest.raises(
        ValueError, match='cat/broken.jpg to be an image.*or remove'
    ):
        dataset[0]


def test_a_whole_image_is_read_as_the_host_reads_it(load, tmp_path):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    imwrite(image, str(tmp_path / 'a.png'))
    results = load(dict(img_path=str(tmp_path / 'a.png')))
    assert type(load) is LoadImageFromFile
    assert np.array_equal(results['img'], image)
    assert results['ori_shape'] == results['img_shape'] == (4, 4)


def test_a_missing_file_stays_what_it_is(load, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.png'):
        load(dict(img_path=str(tmp_path / 'none.png')))


def test_empty_files_are_left_out_where_the_config_says_so(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    load = LoadImageFromFile(ignore_empty=True)
    assert load(dict(img_path=str(tmp_path / 'a.png'))) is None
