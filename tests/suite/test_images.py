"""Batches of images, compared with those of the host's data loader."""

import pickle
import threading

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from PIL import Image

from mmanchor.suite.images import ImageBatches, TestPipeline
from mmanchor.suite.spec import Cell, SuiteSet

PACK = [dict(type='PackInputs')]
RESIZE = [dict(type='Resize', scale=12, interpolation='bicubic')]
FILES = [dict(type='LoadImageFromFile')]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(
        256, size=(70, 16, 16, 3), dtype=np.uint8
    )


@pytest.fixture
def arrays(tmp_path, images):
    """All images as the second severity of a corrupted set."""
    np.save(
        tmp_path / 'fog.npy',
        np.concatenate([255 - images, images, images, images, images]),
    )
    np.save(tmp_path / 'labels.npy', np.arange(70) % 10)
    return dict(
        type='CorruptedArrays', data_root=str(tmp_path), kind='fog', severity=2
    )


@pytest.fixture
def files(tmp_path, images):
    """The same images as files, in ten folders."""
    for i, image in enumerate(images):
        path = tmp_path / 'files' / str(i % 10) / f'{i:03}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return dict(type='CustomDataset', data_root=str(tmp_path / 'files'))


@pytest.fixture
def in_memory(tmp_path, images, monkeypatch):
    """The same images in memory, as the host's CIFAR-10 data set."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    big = images.repeat(2, 1).repeat(2, 2)
    rows = big.transpose(0, 3, 1, 2).reshape(70, -1)
    (folder / 'test_batch').write_bytes(
        pickle.dumps(dict(data=rows, labels=[i % 10 for i in range(70)]))
    )
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    return dict(type='CIFAR10', data_root=str(tmp_path), split='test')


@pytest.fixture(params=['arrays', 'files', 'in_memory'])
def dataset(request):
    return request.getfixturevalue(request.param)


def in_suite(dataset, pipeline=PACK, steps=(), **options):
    return ImageBatches(
        Cell('a set', dataset, steps),
        TestPipeline(pipeline),
        **{'batch_size': 32, **options},
    )


def from_host(dataset, pipeline, **options):
    loader = Runner.build_dataloader(
        dict(
            batch_size=32,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(dataset, pipeline=pipeline, **options),
        )
    )
    batches = list(loader)
    labels = [s.gt_label for batch in batches for s in batch['data_samples']]
    return (
        torch.stack([one for batch in batches for one in batch['inputs']]),
        torch.cat(labels),
    )


AS_IS_AND_RESIZED = pytest.mark.parametrize(
    'steps', [[], RESIZE], ids=['as is', 'resized']
)


@AS_IS_AND_RESIZED
def test_arrays_are_read_as_by_the_host(arrays, steps):
    expected, labels = from_host(arrays, [*steps, *PACK])
    batches = in_suite(arrays, [*steps, *PACK])
    assert (batches.arrays is None) == bool(steps)
    found = list(batches)
    assert [len(batch) for batch in found] == [32, 32, 6]
    assert torch.equal(torch.cat(found), expected)
    assert torch.equal(batches.labels, labels)
    assert found[0].dtype == torch.uint8 and found[0].is_contiguous()
    # for a model of files
    expected, _ = from_host(arrays, [*steps, *PACK], channel_order='bgr')
    found = torch.cat(list(in_suite(arrays, [*FILES, *steps, *PACK])))
    assert torch.equal(found, expected)


@AS_IS_AND_RESIZED
def test_files_are_read_as_by_the_host(files, steps):
    pipeline = [*FILES, *steps, *PACK]
    expected, labels = from_host(files, pipeline)
    batches = in_suite(files, pipeline)
    assert torch.equal(torch.cat(list(batches)), expected)
    assert torch.equal(batches.labels, labels)
    # for a model of arrays
    found = torch.cat(list(in_suite(files, [*steps, *PACK])))
    assert torch.equal(found, expected.flip(1))


def test_images_that_the_host_holds(in_memory):
    expected, labels = from_host(in_memory, PACK)
    batches = in_suite(in_memory)
    assert torch.equal(torch.cat(list(batches)), expected)
    assert torch.equal(batches.labels, labels)
    for_files = torch.cat(list(in_suite(in_memory, FILES + PACK)))
    assert torch.equal(for_files, expected.flip(1))


def test_arrays_in_the_order_of_files(arrays):
    dataset = dict(arrays, channel_order='bgr')
    expected = torch.cat(list(in_suite(arrays)))
    assert torch.equal(torch.cat(list(in_suite(dataset))), expected)
    resized = torch.cat(list(in_suite(dataset, RESIZE + PACK)))
    expected = torch.cat(list(in_suite(arrays, RESIZE + PACK)))
    assert torch.equal(resized, expected)


@pytest.mark.parametrize('workers', [1, 4])
def test_workers_change_nothing(dataset, workers):
    one = list(in_suite(dataset, RESIZE + PACK, workers=2, batch_size=70))
    other = list(in_suite(dataset, RESIZE + PACK, workers=workers))
    assert torch.equal(torch.cat(other), one[0])


def test_steps_come_before_the_model_s_own(files):
    crop = [dict(type='CenterCrop', crop_size=10)]
    found = torch.cat(list(in_suite(files, [*FILES, *RESIZE, *PACK], crop)))
    expected, _ = from_host(files, [*FILES, *crop, *RESIZE, *PACK])
    assert torch.equal(found, expected)


def test_some_of_the_images(dataset):
    whole = in_suite(dataset)
    images, labels = torch.cat(list(whole)), whole.labels
    some, rows = in_suite(dataset, batch_size=3), [0, 5, 33, 34, 35, 69]
    some.select(np.array(rows))
    assert len(some) == len(rows)
    assert torch.equal(torch.cat(list(some)), images[rows])
    assert torch.equal(some.labels, labels[rows])
    some.select(np.array([1]))  # positions count the images that are left
    assert torch.equal(torch.cat(list(some)), images[[5]])
    indices = in_suite(dict(dataset, indices=[4, 60]))
    assert torch.equal(torch.cat(list(indices)), images[[4, 60]])
    assert torch.equal(indices.labels, labels[[4, 60]])


def test_images_of_no_class_have_no_label(dataset):
    cell = Cell('a set', dataset, is_ood=True)
    labels = ImageBatches(cell, TestPipeline(PACK)).labels
    assert labels.tolist() == [-1] * 70


def test_classes_of_a_set(arrays, files):
    assert in_suite(files).num_classes == 10
    assert in_suite(arrays).num_classes is None
    named = dict(arrays, metainfo=dict(classes=list('abcdefghij')))
    assert in_suite(named).num_classes == 10
    kept = dict(arrays, metainfo=dict(kept_classes=(1, 2)))
    assert in_suite(kept).kept_classes == (1, 2)


def test_images_of_several_sizes(files, tmp_path):
    Image.new('RGB', (20, 16)).save(tmp_path / 'files' / '0' / '000.png')
    expected = r'one size.*got \(3, 16, 16\) and \(3, 16, 20\). Let the pip'
    with pytest.raises(ValueError, match=expected):
        list(in_suite(files))
    assert len(torch.cat(list(in_suite(files, RESIZE + PACK)))) == 70


@pytest.mark.parametrize('content', [b'', b'no image', None])
@pytest.mark.parametrize(
    'options',
    [None, {}, dict(imdecode_backend='pillow'), dict(ignore_empty=True)],
)
def test_files_that_are_no_images(files, tmp_path, options, content):
    path = tmp_path / 'files' / '3' / '003.png'
    load = [] if options is None else [dict(FILES[0], **options)]
    batches = in_suite(files, [*load, *PACK])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match='3/003.png to be an image, .* Replace'
    ):
        list(batches)


@pytest.mark.parametrize(
    'pipeline, got',
    [
        ([], 'none'),
        (FILES, 'LoadImageFromFile'),
        (PACK + RESIZE, 'PackInputs, Resize'),
    ],
)
def test_pipelines_that_pack_nothing(pipeline, got):
    expected = f'ends with PackInputs, but got {got}. Change the config'
    with pytest.raises(ValueError, match=expected):
        TestPipeline(pipeline)


def test_a_reader_that_stops_early_leaves_no_thread(arrays):
    before = threading.active_count()
    batches = iter(in_suite(arrays, RESIZE + PACK, batch_size=8))
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def resize_and_crop(resize, crop):
    return [
        dict(type='ResizeEdge', scale=resize, edge='short', backend='pillow'),
        dict(type='CenterCrop', crop_size=crop),
    ]


@pytest.fixture
def photographs(tmp_path):
    """Images of several sizes, none of them square, in two folders."""
    rng = np.random.default_rng(0)
    for i in range(6):
        path = tmp_path / 'photographs' / str(i % 2) / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (40 + i, 60 + 3 * i, 3)
        Image.fromarray(rng.integers(256, size=size, dtype=np.uint8)).save(
            path
        )
    return dict(type='CustomDataset', data_root=str(tmp_path / 'photographs'))


def uncorrupted(folder, clean, steps):
    """Write a corrupted set whose images equal the clean ones."""
    images = in_suite(clean, steps=steps)
    arrays = torch.cat(list(images)).permute(0, 2, 3, 1).numpy()
    folder.mkdir()
    np.save(folder / 'fog.npy', np.concatenate([arrays] * 5))
    np.save(folder / 'labels.npy', images.labels.numpy())
    made = SuiteSet(
        'made',
        dict(type='CorruptedArrays', data_root=str(folder)),
        steps,
        ['fog'],
        [1],
        make=True,
    )
    (cell,) = made.cells()
    return cell


@pytest.mark.parametrize(
    'crop',
    [
        resize_and_crop(36, 32),
        [dict(type='EfficientNetCenterCrop', crop_size=32)],
    ],
    ids=['resize and crop', 'EfficientNet'],
)
def test_an_identity_corruption_scores_as_clean_images_do(
    tmp_path, photographs, crop
):
    cell = uncorrupted(tmp_path / 'made', photographs, crop)
    pipeline = TestPipeline([*FILES, *crop, *PACK])
    clean = ImageBatches(Cell('clean', photographs), pipeline)
    found = ImageBatches(cell, pipeline)
    assert torch.equal(torch.cat(list(found)), torch.cat(list(clean)))


def test_images_that_were_cropped_are_resized_whole(tmp_path, photographs):
    cell = uncorrupted(tmp_path / 'made', photographs, resize_and_crop(36, 32))
    larger = TestPipeline([*FILES, *resize_and_crop(54, 48), *PACK])
    (found,) = ImageBatches(cell, larger)
    whole = dict(
        type='Resize', scale=48, interpolation='bilinear', backend='pillow'
    )
    (expected,) = ImageBatches(cell, TestPipeline([*FILES, whole, *PACK]))
    assert torch.equal(found, expected)


def test_images_that_no_step_cropped_are_cropped_by_the_model(
    tmp_path, photographs
):
    resize = [dict(type='Resize', scale=36)]
    cell = uncorrupted(tmp_path / 'made', photographs, resize)
    pipeline = TestPipeline([*FILES, *resize_and_crop(36, 32), *PACK])
    (found,) = ImageBatches(cell, pipeline)
    (whole,) = ImageBatches(cell, TestPipeline(PACK))
    assert torch.equal(found, whole[..., 2:34, 2:34].flip(1))
    # a folder in ImageNet-C's layout may hold images that are not cropped
    clean, whole = (
        torch.cat(
            list(
                ImageBatches(Cell('a', photographs, is_cropped=one), pipeline)
            )
        )
        for one in (False, True)
    )
    assert torch.equal(whole, clean)


def test_published_images_of_imagenet_c_are_not_cropped_again():
    for name in (
        'ImageNetC',
        'ImageNetCBar',
        'ImageNetR',
        'CorruptedArrays',
        'CIFAR10C',
    ):
        one = SuiteSet(name, dict(type=name, data_root='nowhere'))
        assert {cell.is_cropped for cell in one.cells()} == {'NetC' in name}


def test_torchvision_s_crop_is_left_out_as_well():
    pipeline = TestPipeline(
        [
            dict(type='torchvision/Resize', size=36, interpolation='bicubic'),
            dict(type='torchvision/CenterCrop', size=32),
            *PACK,
        ]
    )
    assert pipeline.steps_without_crop == [
        dict(type='torchvision/Resize', size=(32, 32), interpolation='bicubic')
    ]


def test_batches_for_a_gpu_are_pinned_where_they_are_read(arrays, monkeypatch):
    pinned = []
    monkeypatch.setattr(
        torch.Tensor, 'pin_memory', lambda one: pinned.append(one) or one
    )
    cell = Cell('a set', arrays)
    for pin_memory, expected in ((False, 0), (True, 3)):
        batches = ImageBatches(
            cell, TestPipeline(PACK), 32, pin_memory=pin_memory
        )
        assert sum(map(len, batches)) == 70
        assert len(pinned) == expected
