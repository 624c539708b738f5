import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS
from PIL import Image
from torchvision import transforms

from mmanchor.datasets.corruptions.set_writer import (
    FolderSource,
    read_image,
    write_corrupted_set,
)
from mmanchor.datasets.image_folders import list_images, open_rgb
from mmanchor.datasets.transforms.pixmix import MixingImages


def paint(path, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (9, 8, 7)).save(path)


@pytest.fixture
def tree(tmp_path):
    """Nested, linked, hidden and missing images in class folders."""
    root = tmp_path / 'root'
    for name in (
        'a/1.png',
        'a/deep/er/2.JPG',
        'a/b.png',
        'a/b/1.png',
        'c/._1.png',
        'c/3.png',
    ):
        paint(root / name)
    (root / 'b').mkdir()
    paint(tmp_path / 'elsewhere' / '4.png')
    (root / 'd').symlink_to(tmp_path / 'elsewhere')
    (root / 'c' / 'link.png').symlink_to(tmp_path / 'elsewhere' / '4.png')
    return root


def host_images(root):
    dataset = CustomDataset(data_root=str(root), pipeline=[])
    return dataset, [dataset.get_data_info(i) for i in range(len(dataset))]


def test_images_are_those_of_the_host_in_its_order(tree):
    _, infos = host_images(tree)
    found = [str(path) for name in 'abcd' for path in list_images(tree / name)]
    assert found == [info['img_path'] for info in infos]
    assert len(found) == 7


@pytest.mark.parametrize(
    'reads',
    [
        lambda root: [
            info['img_path']
            for info in DATASETS.build(
                dict(type='OODFolder', data_root=str(root), lazy_init=True)
            ).load_data_list()
        ],
        lambda root: list(map(str, MixingImages(root).files)),
        lambda root: [str(root / name) for name in FolderSource(root).names],
    ],
    ids=['OODFolder', 'PixMix', 'make_corruptions'],
)
def test_every_reader_follows_links_and_leaves_hidden_folders(reads, tree):
    before = reads(tree)
    paint(tree / '.ipynb_checkpoints' / '5.png')
    paint(tree / 'a' / '.ipynb_checkpoints' / '6.png')
    assert reads(tree) == before
    assert len(before) == 7
    assert str(tree / 'd' / '4.png') in before


def test_a_link_to_a_folder_that_holds_it_ends(tree):
    before = list_images(tree)
    (tree / 'a' / 'again').symlink_to(tree)
    assert list_images(tree) == before


def test_labels_of_a_corrupted_folder_are_those_of_the_host(tree, tmp_path):
    host, infos = host_images(tree)
    out = tmp_path / 'out'
    write_corrupted_set(FolderSource(tree), out, ['fog'])
    config = dict(kind='fog', severity=2, data_root=str(out))
    with pytest.warns(UserWarning, match='no images of b'):
        made = DATASETS.build(dict(config, type='CorruptedFolders'))
    assert made.get_gt_labels().tolist() == [i['gt_label'] for i in infos]
    assert list(made.metainfo['classes']) == list(host.metainfo['classes'])


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3])
def test_images_of_16_bits_are_scaled_as_the_host_scales(
    suffix, channels, tmp_path
):
    path = tmp_path / f'deep.{suffix}'
    deep = np.linspace(0, 65535, 64 * channels).astype(np.uint16)
    cv2.imwrite(str(path), deep.reshape(8, 8, channels))
    host = Compose([dict(type='LoadImageFromFile')])(dict(img_path=str(path)))[
        'img'
    ][..., ::-1]
    found = read_image(path)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - host).max() <= 1
    assert 100 < found.mean() < 150
    MixingImages(tmp_path).draw(8, 8)


def test_images_of_32_bits_are_refused_by_name(tmp_path):
    path = tmp_path / 'float.tif'
    Image.fromarray(np.ones((8, 8), np.float32)).save(path)
    with pytest.raises(ValueError, match='float.tif.*mode F'):
        read_image(path)
    with pytest.raises(ValueError, match='float.tif.*mode F'):
        MixingImages(tmp_path).draw(8, 8)


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_images_that_are_too_large_are_refused_by_name(tmp_path, monkeypatch):
    paint(tmp_path / 'large.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50)
    with pytest.raises(ValueError, match='large.png.*exceeds limit'):
        open_rgb(tmp_path / 'large.png')


@pytest.mark.parametrize('data', [b'', b'not an image'])
def test_files_that_are_no_images_are_refused_by_name(data, tmp_path):
    (tmp_path / 'bad.png').write_bytes(data)
    with pytest.raises(ValueError, match='bad.png.*be read'):
        open_rgb(tmp_path / 'bad.png')


def test_images_are_cut_as_torchvision_cuts_them(tmp_path):
    cut = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224)]
    )
    coarse = torch.randint(
        256, (9, 11, 3), dtype=torch.uint8, generator=torch.manual_seed(0)
    ).numpy()
    coarse = Image.fromarray(coarse)
    sizes = [(width, 375) for width in range(180, 580, 27)]
    sizes += [(375, height) for height in range(181, 580, 39)]
    sizes += [(500, 332), (640, 427), (333, 500), (256, 256), (224, 900)]
    for size in sizes:
        image = coarse.resize(size)
        image.save(tmp_path / 'one.bmp')
        found = read_image(tmp_path / 'one.bmp', 224)
        assert found.shape == (224, 224, 3), size
        assert np.array_equal(found, np.asarray(cut(image))), size
