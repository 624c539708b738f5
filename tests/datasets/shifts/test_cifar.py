import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from mmpretrain.registry import DATASETS

from mmanchor.datasets import (
    ALL_C_KINDS,
    C_EXTRA_KINDS,
    C_KINDS,
    CIFAR_C_BAR_KINDS,
)

PACK = [dict(type='PackInputs')]
SETS = ('CIFAR10C', 'CIFAR100C', 'CIFAR10CBar', 'CIFAR100CBar')
N = 4
LABELS = np.array([3, 1, 0, 9], np.uint8)


def kind_of(name):
    return 'pinch_and_twirl' if 'Bar' in name else 'fog'


def build(name, root, kind=None, severity=2, **kwargs):
    return DATASETS.build(
        dict(
            type=name,
            data_root=str(root),
            kind=kind or kind_of(name),
            severity=severity,
            **kwargs,
        )
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(
        256, size=(5 * N, 32, 32, 3), dtype=np.uint8
    )


@pytest.fixture
def root(tmp_path, images):
    for kind in ('fog', 'pinch_and_twirl'):
        np.save(tmp_path / f'{kind}.npy', images)
    np.save(tmp_path / 'labels.npy', np.tile(LABELS, 5))
    return tmp_path


def test_kinds_are_as_many_as_published():
    assert len(set(C_KINDS)) == 15 and len(set(C_EXTRA_KINDS)) == 4
    assert len(set(ALL_C_KINDS)) == 19
    assert len(set(CIFAR_C_BAR_KINDS)) == 10


@pytest.mark.parametrize('name', SETS)
@pytest.mark.parametrize('severity', [1, 4, 5])
def test_a_severity_is_its_block(name, severity, root, images):
    dataset = build(name, root, severity=severity)
    assert len(dataset) == N
    assert len(dataset.metainfo['classes']) == (100 if '100' in name else 10)
    for i in range(N):
        sample = dataset[i]
        block = images[(severity - 1) * N :]
        assert np.array_equal(sample['img'], block[i])
        assert sample['gt_label'] == LABELS[i]


def test_one_block_of_labels_holds_for_all_severities(root):
    np.save(root / 'labels.npy', LABELS.astype(np.int64))
    dataset = build('CIFAR10C', root, severity=5)
    assert dataset.get_gt_labels().tolist() == LABELS.tolist()


def test_labels_of_a_severity_are_those_of_its_block(root):
    labels = np.arange(5 * N) % 10
    np.save(root / 'labels.npy', labels)
    found = build('CIFAR10C', root, severity=4).get_gt_labels()
    assert found.tolist() == labels[3 * N : 4 * N].tolist()


def test_identical_images_become_identical_tensors(root, images, monkeypatch):
    """Those of the host's CIFAR-10, with these images to test on."""
    folder = root / CIFAR10.base_folder
    folder.mkdir()
    rows = images[N : 2 * N].transpose(0, 3, 1, 2).reshape(N, -1)
    (folder / 'test_batch').write_bytes(
        pickle.dumps(dict(data=rows, labels=LABELS.tolist()))
    )
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    clean = DATASETS.build(
        dict(type='CIFAR10', data_root=str(root), split='test', pipeline=PACK)
    )
    shifted = build('CIFAR10C', root, pipeline=PACK)
    for one, other in zip(clean, shifted, strict=True):
        assert one['inputs'].shape == (3, 32, 32)
        assert torch.equal(one['inputs'], other['inputs'])
    assert clean.get_gt_labels().tolist() == LABELS.tolist()
    assert shifted.get_gt_labels().tolist() == LABELS.tolist()


def test_images_come_as_files_do_if_asked(root, images):
    dataset = build('CIFAR10C', root, channel_order='bgr', pipeline=PACK)
    expected = images[N][..., ::-1].transpose(2, 0, 1)
    assert np.array_equal(dataset[0]['inputs'], expected)
    with pytest.raises(ValueError, match="'rgb' or 'bgr', but got 'hsv'"):
        build('CIFAR10C', root, channel_order='hsv')


def test_copies_carry_no_images(root, images):
    dataset = build('CIFAR10C', root)
    assert isinstance(dataset.images._images, np.memmap)
    assert len(pickle.dumps(dataset)) < images.nbytes / 4
    for again in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert isinstance(again.images._images, np.memmap)
        assert np.array_equal(again[1]['img'], dataset[1]['img'])
    subset = dataset.get_subset([2])
    assert np.array_equal(subset[0]['img'], images[N + 2])


def test_processes_read_it_for_a_run(root, images):
    loader = Runner.build_dataloader(
        dict(
            batch_size=3,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=build('CIFAR10C', root, severity=5, pipeline=PACK),
        )
    )
    found = [image.numpy() for batch in loader for image in batch['inputs']]
    assert np.array_equal(found, images[4 * N :].transpose(0, 3, 1, 2))


def test_samples_may_be_written_on(root, images):
    dataset = build('CIFAR10C', root)
    dataset[0]['img'][:] = 0
    assert np.array_equal(dataset[0]['img'], images[N])


@pytest.mark.parametrize(
    'name, official',
    [
        ('CIFAR10C', 'CIFAR-10-C '),
        ('CIFAR100C', 'CIFAR-100-C '),
        ('CIFAR10CBar', r'CIFAR-10-C̄ \(CIFAR-10-C-bar\)'),
        ('CIFAR100CBar', r'CIFAR-100-C̄ \(CIFAR-100-C-bar\)'),
    ],
)
def test_missing_sets_tell_name_and_layout(name, official, tmp_path):
    expected = f'{official}.*KIND.npy.*labels.npy.*is not there. Download'
    with pytest.raises(FileNotFoundError, match=expected):
        build(name, tmp_path)


def test_missing_labels_are_named(root):
    (root / 'labels.npy').unlink()
    with pytest.raises(FileNotFoundError, match='labels.npy is not there'):
        build('CIFAR10C', root)


def test_bad_arguments(root):
    with pytest.raises(ValueError, match="CIFAR-10-C has.*but got 'lines'"):
        build('CIFAR10C', root, kind='lines')
    with pytest.raises(ValueError, match="bar.* has.*but got 'fog'"):
        build('CIFAR10CBar', root, kind='fog')
    for severity in (0, 6, '3', True):
        with pytest.raises(ValueError, match='1, 2, 3, 4 or 5, but got'):
            build('CIFAR10C', root, severity=severity)


def test_numbers_of_images_and_labels_that_do_not_fit(root, images):
    np.save(root / 'labels.npy', np.zeros(5 * N - 1, np.uint8))
    with pytest.raises(ValueError, match='got 20 images and 19 labels. Down'):
        build('CIFAR10C', root)
    np.save(root / 'fog.npy', images[:-1])
    with pytest.raises(ValueError, match='five severities.*got 19 images'):
        build('CIFAR10C', root)


def test_labels_outside_the_classes(root):
    np.save(root / 'labels.npy', np.full(5 * N, 10))
    assert build('CIFAR100C', root)[0]['gt_label'] == 10
    with pytest.raises(ValueError, match='from 0 to 9, but got 10. Down'):
        build('CIFAR10C', root)
    np.save(root / 'labels.npy', np.full(5 * N, -1))
    with pytest.raises(ValueError, match='from 0 to 9, but got -1'):
        build('CIFAR10C', root)


@pytest.mark.parametrize('labels', [LABELS / 2, LABELS[None]])
def test_labels_that_are_no_list_of_integers(root, labels):
    np.save(root / 'labels.npy', labels)
    with pytest.raises(ValueError, match=r'labels of shape \(N,\) in integ'):
        build('CIFAR10C', root)


def test_corrupted_arrays_of_any_size(root, images):
    np.save(root / 'fog.npy', images[:, :16, :20])
    dataset = build('CorruptedArrays', root, classes=list('abcdefghij'))
    assert dataset[0]['img'].shape == (16, 20, 3)
    assert dataset.metainfo['classes'][9] == 'j'
    assert build('CorruptedArrays', root).metainfo.get('classes') is None


def test_new_test_images_of_cifar10(tmp_path, images):
    config = dict(type='CIFAR10_1', data_root=str(tmp_path), pipeline=PACK)
    expected = 'CIFAR-10.1 .*cifar10.1_v6_labels.npy.*is not there'
    with pytest.raises(FileNotFoundError, match=expected):
        DATASETS.build(config)
    np.save(tmp_path / 'cifar10.1_v6_data.npy', images[:N])
    np.save(tmp_path / 'cifar10.1_v6_labels.npy', LABELS.astype(np.int32))
    dataset = DATASETS.build(config)
    assert len(dataset) == N
    assert np.array_equal(dataset[3]['inputs'], images[3].transpose(2, 0, 1))
    assert dataset.get_gt_labels().tolist() == LABELS.tolist()
    np.save(tmp_path / 'cifar10.1_v6_labels.npy', LABELS[1:])
    with pytest.raises(ValueError, match='images, 4, but got 3. Download'):
        DATASETS.build(config)
    with pytest.raises(ValueError, match="'v6' or 'v4', but got 'v5'"):
        DATASETS.build(dict(config, version='v5'))
