"""The first batch of every recipe, from a few images of the right layout."""

import re

import numpy as np
import pytest
import torch
from helpers.recipe_leaves import FAMILIES, LEAVES, ROOT, leaf, read
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10, CIFAR100, RepeatAugSampler
from mmpretrain.registry import MODELS, TRANSFORMS

from mmanchor import CONFIG_DIR


def loader(config, **changes):
    config.update(num_workers=0, persistent_workers=False, **changes)
    return Runner.build_dataloader(config, seed=0)


def first_batch(config, batch_size=4):
    return next(iter(loader(config, batch_size=batch_size)))


def side(name):
    return 256 if 'swin' in name else 224 if 'imagenet' in name else 32


@pytest.mark.parametrize('name', LEAVES)
def test_the_first_batches(name, with_data):
    cfg = read(name)
    preprocessor = dict(cfg.data_preprocessor)
    preprocessor.setdefault('type', 'ClsDataPreprocessor')
    preprocessor = MODELS.build(
        dict(preprocessor, batch_augments=cfg.model.get('train_cfg'))
    )
    size = side(name)
    batch = first_batch(cfg.train_dataloader)
    assert [image.shape for image in batch['inputs']] == [(3, size, size)] * 4
    assert {image.dtype for image in batch['inputs']} == {torch.uint8}
    out = preprocessor(batch, training=True)
    anchored = '_anchored' in name
    assert out['inputs'].shape == (4, 6 if anchored else 3, size, size)
    images = out['inputs'][:, -3:] + anchored * out['inputs'][:, :3]
    if not getattr(preprocessor, 'mask_prob', 0):
        # normalised, so about 0 and of a few standard deviations
        assert abs(images.mean()) < 1.2 and 0.3 < images.std() < 2.2
    labels = [int(s.gt_label) for s in batch['data_samples']]
    assert max(labels) < preprocessor.num_classes
    for split in (cfg.val_dataloader, cfg.test_dataloader):
        batch = first_batch(split)
        assert [image.shape for image in batch['inputs']] == [
            (3, size, size)
        ] * 4


@pytest.mark.parametrize('family', FAMILIES)
def test_what_is_drawn_how_often(family, with_data):
    cfg = read(leaf(family))
    sampler = loader(cfg.train_dataloader).sampler
    repeats = {'swinv2': 4, 'vit-ba': 3}.get(family[1][:6])
    assert type(sampler) is (RepeatAugSampler if repeats else DefaultSampler)
    assert getattr(sampler, 'num_repeats', None) == repeats
    assert sampler.shuffle
    drawn = list(sampler)
    most = np.bincount(drawn).max()
    assert most == (repeats or 1)


@pytest.mark.parametrize(
    'name,expected',
    [
        ('swinv2-tiny', ['TrivialAugmentWide', 'bicubic', 'RandomErasing']),
        ('vit-base-p16', ['RandAugment', 'magnitude=9', 'bilinear']),
    ],
)
def test_torchvision_s_augmentations(name, expected):
    pipeline = read(f'imagenet/{name}_imagenet.py').train_dataloader.dataset
    told = ' '.join(str(TRANSFORMS.build(t)) for t in pipeline.pipeline)
    for word in expected:
        assert word in told
    erasing = [t for t in pipeline.pipeline if t.type == 'RandomErasing']
    assert [(t.erase_prob, t.max_area_ratio) for t in erasing] == [
        (0.25, 0.33)
    ] * name.startswith('swin')


@pytest.mark.parametrize(
    'name',
    [
        'cifar100/resnet18-trivialaugment_cifar100.py',
        'cifar100/resnet18-randaugment_cifar100.py',
        'cifar100/resnet18-pixmix_cifar100.py',
        'imagenet/swinv2-tiny_imagenet.py',
        'imagenet/vit-base-p16_imagenet.py',
    ],
)
def test_augmentation_augments_and_keeps_channels_in_their_order(
    name, with_data
):
    steps = read(name).train_dataloader.dataset.pipeline
    augmenting = [
        t
        for t in steps
        if t.type.startswith(
            ('torchvision/', 'NumpyToPIL', 'PILToNumpy', 'PixMix')
        )
    ]
    assert augmenting
    transforms = [TRANSFORMS.build(t) for t in augmenting]
    image = np.random.default_rng(0).integers(60, 90, (32, 32, 3), np.uint8)
    image[..., 0] += 120  # the largest, whatever it is called
    largest, same = [], 0
    for seed in range(40):
        torch.manual_seed(seed)
        np.random.seed(seed)
        results = dict(img=image)
        for transform in transforms:
            results = transform(results)
        assert results['img'].dtype == np.uint8
        same += np.array_equal(results['img'], image)
        largest.append(results['img'].mean((0, 1)).argmax())
    assert same < 20
    assert np.mean(np.array(largest) == 0) > 0.6


def test_pipelines_for_files_and_for_arrays_are_the_same_but_for_order(
    with_data,
):
    folder = CONFIG_DIR / '_base_/augmentations'
    arrays = Config.fromfile(folder / 'cifar.py').to_dict()
    files = Config.fromfile(folder / 'cifar_folders.py').to_dict()
    assert set(arrays) == set(files) and len(files) == 5
    for name, steps in files.items():
        kinds = [step['type'] for step in steps]
        assert kinds == ['LoadImageFromFile'] + [
            step['type'] for step in arrays[name]
        ]
        for step in (*steps, *arrays[name]):
            assert TRANSFORMS.build(step)
        orders = [
            {
                step[key]
                for step in some
                for key in ('to_rgb', 'to_bgr', 'channel_order')
                if key in step
            }
            for some in (steps, arrays[name])
        ]
        expected = {
            'crop_flip': [set(), set()],
            'pixmix': [set(), {'rgb'}],
        }.get(name, [{True}, {False}])
        assert orders == expected


def test_classes_in_folders_and_published_files_have_one_order():
    for dataset in (CIFAR10, CIFAR100):
        names = list(dataset.METAINFO['classes'])
        assert names == sorted(names)


def test_pixmix_without_its_pictures_says_so(with_data, monkeypatch, tmp_path):
    cfg = read('cifar100/resnet18-pixmix_anchored_cifar100.py')
    (tmp_path / 'data').symlink_to(with_data / 'data/cifar100')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match='data/fractals_and_fvis is no'
    ):
        TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[2])


def test_label_noise_as_the_page_shows_it(with_data, tmp_path):
    page = (ROOT / 'docs/recipes.md').read_text()
    code = re.findall(r'^```py\n(.*?)^```', page, re.M | re.S)[1]
    path = tmp_path / 'noisy.py'
    path.write_text(code.replace('configs/', f'{CONFIG_DIR}/'))
    cfg = Config.fromfile(path)
    assert cfg.data_preprocessor.mask_prob == 0.25
    dataset = loader(cfg.train_dataloader, batch_size=4).dataset
    assert len(dataset) == 40 and len(dataset.flips) == 2
    for index, true, given in dataset.flips:
        assert dataset.dataset.get_data_info(index)['gt_label'] == true
        assert int(dataset[index]['data_samples'].gt_label) == given
