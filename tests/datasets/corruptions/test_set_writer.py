import errno
import json
import os

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.datasets.corruptions.corrupt import corrupt
from mmanchor.datasets.corruptions.set_writer import (
    ArraySource,
    FolderSource,
    read_image,
    read_record,
    write_corrupted_set,
)

KINDS = ('shot_noise', 'frost')


@pytest.fixture
def images():
    coarse = np.random.default_rng(0).integers(
        256, size=(6, 4, 4, 3), dtype=np.uint8
    )
    return np.kron(coarse, np.ones((1, 4, 4, 1), np.uint8))


@pytest.fixture
def array(tmp_path, images):
    np.save(tmp_path / 'images.npy', images)
    np.save(tmp_path / 'labels.npy', np.arange(6) % 3)
    return ArraySource(tmp_path / 'images.npy', tmp_path / 'labels.npy')


@pytest.fixture
def folder(tmp_path, images):
    for index, image in enumerate(images):
        suffix = 'png' if index % 2 else 'JPEG'
        path = tmp_path / 'source' / 'ab'[index % 2] / f'{index}.{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)
    return FolderSource(tmp_path / 'source')


@pytest.fixture(params=['array', 'folder'])
def source(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch):
    monkeypatch.setattr(
        'mmanchor.datasets.corruptions.set_writer.MAX_IMAGES_PER_JOB', 4
    )


def contents(out):
    files = sorted(path for path in out.rglob('*') if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_arrays_are_written_as_cifar_c_is(array, images, tmp_path):
    out = tmp_path / 'out'
    made = write_corrupted_set(array, out, KINDS, seed=3)
    assert made == dict(written=list(KINDS), kept=[])
    assert set(contents(out)) == {
        'shot_noise.npy',
        'frost.npy',
        'labels.npy',
        'made_by.json',
    }
    config = dict(type='CorruptedArrays', data_root=str(out), kind='frost')
    for severity in (1, 5):
        dataset = DATASETS.build(dict(config, severity=severity))
        assert dataset.get_gt_labels().tolist() == [0, 1, 2, 0, 1, 2]
        for i in range(6):
            expected = corrupt(images[i], 'frost', severity, 3, i)
            assert np.array_equal(dataset[i]['img'], expected)


def test_folders_are_written_as_imagenet_c_is(folder, tmp_path):
    out = tmp_path / 'out'
    write_corrupted_set(folder, out, KINDS)
    assert len(contents(out)) == 2 * 5 * 6 + 1
    dataset = DATASETS.build(
        dict(
            type='CorruptedFolders',
            data_root=str(out),
            kind='shot_noise',
            severity=4,
        )
    )
    assert dataset.metainfo['classes'] == ('a', 'b')
    assert dataset.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1]
    lossless = out / 'shot_noise' / '4' / 'b' / '1.png'
    original = read_image(tmp_path / 'source' / 'b' / '1.png')
    expected = corrupt(original, 'shot_noise', 4, 0, 3)  # the fourth by name
    assert np.array_equal(read_image(lossless), expected)
    assert Image.open(out / 'frost' / '1' / 'a' / '0.JPEG').format == 'JPEG'


def test_bytes_do_not_depend_on_processes_or_order(source, tmp_path):
    write_corrupted_set(source, tmp_path / 'one', KINDS)
    write_corrupted_set(source, tmp_path / 'two', KINDS[::-1], workers=2)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')
    write_corrupted_set(source, tmp_path / 'other', KINDS, seed=1)
    one, other = contents(tmp_path / 'one'), contents(tmp_path / 'other')
    assert {name for name in one if one[name] == other[name]} == set(one) & {
        'labels.npy'
    }


def test_a_stopped_run_goes_on(source, tmp_path):
    calls = []

    def stop(kind, done, total):
        calls.append((kind, done, total))
        if done > 40:
            raise KeyboardInterrupt

    out = tmp_path / 'stopped'
    with pytest.raises(KeyboardInterrupt):
        write_corrupted_set(source, out, KINDS, 0, 2, stop)
    assert calls[-1][0] == 'frost' and calls[-1][2] == 60
    assert source.target(out, 'shot_noise').exists()
    assert not source.target(out, 'frost').exists()
    made = write_corrupted_set(source, out, KINDS, 0, 2)
    assert made == dict(written=['frost'], kept=['shot_noise'])
    write_corrupted_set(source, tmp_path / 'whole', KINDS)
    assert contents(out) == contents(tmp_path / 'whole')


def test_images_of_a_stopped_kind_are_kept(folder, tmp_path, monkeypatch):
    out = tmp_path / 'out'

    def stop(kind, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corrupted_set(folder, out, ['frost'], report=stop)
    kept = contents(out / '.frost.partial')
    assert len(kept) == 4
    made = []
    monkeypatch.setattr(
        'mmanchor.datasets.corruptions.set_writer.corrupt',
        lambda *args, **more: made.append(args) or corrupt(*args, **more),
    )
    write_corrupted_set(folder, out, ['frost'])
    assert len(made) == 5 * 6 - 4
    assert kept.items() <= contents(out / 'frost').items()


def test_nothing_is_done_twice(source, tmp_path):
    write_corrupted_set(source, tmp_path / 'out', KINDS)
    before = contents(tmp_path / 'out')
    made = write_corrupted_set(source, tmp_path / 'out', KINDS)
    assert made == dict(written=[], kept=list(KINDS))
    assert contents(tmp_path / 'out') == before


def test_other_settings_do_not_mix(array, folder, tmp_path):
    out = tmp_path / 'out'
    write_corrupted_set(array, out, ['fog'])
    before = contents(out)
    for source, changes, message in (
        (array, dict(seed=1), 'same seed, but got 0 there and 1 now'),
        (folder, {}, 'same images, but got .* Change the'),
        (
            array,
            dict(settings='cifar-c'),
            "same settings, but got 'imagenet-c' there and 'cifar-c' now",
        ),
        (array, dict(settings='cifar'), "cifar-c, but got 'cifar'. Change"),
    ):
        with pytest.raises(ValueError, match=message):
            write_corrupted_set(source, out, ['frost'], **changes)
    assert contents(out) == before
    record = json.loads((out / 'made_by.json').read_text())
    assert record['library'] == 'imagecorruptions-imaug 1.1.5'
    assert record['versions']['numpy'] == np.__version__


def test_a_set_has_the_settings_that_were_asked_for(source, tmp_path):
    for settings in ('cifar-c', 'imagenet-c'):
        write_corrupted_set(
            source, tmp_path / settings, ['contrast'], settings=settings
        )
        assert read_record(tmp_path / settings)['settings'] == settings
    one, other = (
        contents(tmp_path / name) for name in ('cifar-c', 'imagenet-c')
    )
    differ = {name for name in one if one[name] != other[name]}
    assert differ == set(one) - {'labels.npy'}


def test_a_set_without_recorded_settings_has_those_of_imagenet_c(
    array, tmp_path
):
    out = tmp_path / 'out'
    assert read_record(out) is None
    write_corrupted_set(array, out, ['fog'])
    record = json.loads((out / 'made_by.json').read_text())
    assert record.pop('settings') == 'imagenet-c'
    (out / 'made_by.json').write_text(json.dumps(record))
    assert read_record(out)['settings'] == 'imagenet-c'
    made = write_corrupted_set(array, out, ['fog', 'frost'])
    assert made == dict(written=['frost'], kept=['fog'])
    expected = "got 'imagenet-c' there and 'cifar-c' now. Change"
    with pytest.raises(ValueError, match=expected):
        write_corrupted_set(array, out, ['fog'], settings='cifar-c')


def test_nothing_is_added_to_a_published_set(source, tmp_path):
    out = tmp_path / 'out'
    write_corrupted_set(source, out, ['fog'])
    (out / 'made_by.json').unlink()
    before = contents(out)
    with pytest.raises(ValueError, match='but got fog without it. Change th'):
        write_corrupted_set(source, out, ['fog', 'frost'])
    assert contents(out) == before


def test_a_disk_that_fills_up_leaves_no_array(array, tmp_path, monkeypatch):

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / 'out'
    with monkeypatch.context() as patch:
        patch.setattr(os, 'posix_fallocate', full)
        with pytest.raises(OSError, match='got: No space left.* Make room'):
            write_corrupted_set(array, out, ['fog'])
    assert set(contents(out)) == {'labels.npy', 'made_by.json'}
    write_corrupted_set(array, out, ['fog'])
    assert 'fog.npy' in contents(out)


def test_images_are_cut_to_a_square(tmp_path):
    path = tmp_path / 'source' / 'a' / 'wide.png'
    path.parent.mkdir(parents=True)
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, 16:48] = 255
    Image.fromarray(image).save(path)
    cut = read_image(path, 28)  # the shorter side stays 32
    assert np.array_equal(cut, np.full((28, 28, 3), 255))
    write_corrupted_set(
        FolderSource(tmp_path / 'source', 28), tmp_path / 'out', ['contrast']
    )
    written = tmp_path / 'out' / 'contrast' / '1' / 'a' / 'wide.png'
    assert Image.open(written).size == (28, 28)


def test_bad_sources(array, tmp_path, images):
    np.save(tmp_path / 'few.npy', np.arange(5))
    with pytest.raises(ValueError, match='images, 6, but got 5. Change'):
        ArraySource(array.path, tmp_path / 'few.npy')
    np.save(tmp_path / 'tiny.npy', images[:, :7])
    with pytest.raises(ValueError, match='at least 8 pixels a side, but got'):
        ArraySource(tmp_path / 'tiny.npy', tmp_path / 'labels.npy')
    (tmp_path / 'empty' / 'a').mkdir(parents=True)
    with pytest.raises(ValueError, match='class folders, but got none. Chan'):
        FolderSource(tmp_path / 'empty')
    with pytest.raises(ValueError, match='`size` to be at least 8, but got 4'):
        FolderSource(tmp_path / 'empty', 4)


@pytest.mark.parametrize('workers', [1, 2])
def test_images_that_cannot_be_read(folder, workers, tmp_path):
    (tmp_path / 'source' / 'a' / '0.JPEG').write_text('no image')
    with pytest.raises(
        ValueError, match='0.JPEG to be an image.*Replace or rem'
    ):
        write_corrupted_set(folder, tmp_path / 'out', ['fog'], 0, workers)
    assert not (tmp_path / 'out' / 'fog').exists()


def test_bad_arguments(array, tmp_path, monkeypatch):
    for name, value, least in (('seed', -1, 0), ('workers', 0, 1)):
        expected = f'`{name}` to be at least {least}, but got {value}. Change'
        with pytest.raises(ValueError, match=expected):
            write_corrupted_set(array, tmp_path / 'out', **{name: value})
    with pytest.raises(ValueError, match="but got 'rain'. Change .kind"):
        write_corrupted_set(array, tmp_path / 'out', ['rain'])
    assert not (tmp_path / 'out').exists()
    monkeypatch.setattr(
        'shutil.disk_usage', lambda path: type('', (), dict(free=0))
    )
    with pytest.raises(ValueError, match='GiB of room in .*, but got 0.0'):
        write_corrupted_set(array, tmp_path / 'out', ['fog'])
