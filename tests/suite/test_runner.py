"""Missing and damaged sets, progress, and mean corruption errors."""

import re

import numpy as np
import pytest
from helpers.tiny_suites import sets_of
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.datasets import C_KINDS, imagenet_wnids
from mmanchor.evaluation import mean_corruption_error
from mmanchor.suite.cache import ResultStore
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.runner import run_suite
from mmanchor.suite.spec import Settings, load_suite

PLAIN = 'shifts.append(dict(name="More", dataset=dict({})))'


def more(**dataset):
    """A line of a suite file that adds a shifted set."""
    text = ', '.join(f'{key}={value!r}' for key, value in dataset.items())
    return PLAIN.format(text)


@DATASETS.register_module()
class NothingAtAll(BaseDataset):
    """A data set without images."""

    METAINFO = dict(classes=tuple('0123456789'))

    def load_data_list(self):
        return []


@pytest.mark.parametrize(
    'dataset, official, layout',
    [
        (
            dict(type='CIFAR10C', data_root='c'),
            'CIFAR-10-C ',
            'KIND.npy, .50000',
        ),
        (
            dict(type='CIFAR10_1', data_root='c'),
            'CIFAR-10.1 ',
            'cifar10.1_v6_',
        ),
        (
            dict(type='ImageNetC', data_root='c'),
            'ImageNet-C ',
            'KIND/SEVERITY',
        ),
        (dict(type='ImageNetR', data_root='c'), 'ImageNet-R ', 'WNID/'),
        (
            dict(type='OODFolder', data_root='c', name='NINCO'),
            'NINCO ',
            r'\*\*/',
        ),
        (
            dict(type='CIFAR100', data_root='c', split='test', download=False),
            'More as CIFAR100 reads it',
            'DATA_ROOT/cifar-100-python/test, but got',
        ),
        (
            dict(type='ImageNet', data_root='c', split='val'),
            'More as ImageNet reads it',
            'layout DATA_ROOT/val/WNID/.*/c/val',
        ),
        (
            dict(type='CustomDataset', data_root='c'),
            'More as CustomDataset reads it',
            'layout DATA_ROOT/CLASS/.*/c/',
        ),
    ],
)
def test_a_set_that_is_not_there(outcome, dataset, official, layout):
    found = outcome(more(**dataset))
    (one,) = found.missing
    assert one['name'] == 'More' and found.failed == []
    assert one['reason'].startswith(f'Expected {official}')
    assert one['reason'].rstrip('.').endswith('or change `data_root`')
    assert re.search(layout, one['reason'])
    assert sets_of(found) == [True, 'Arrays', 'Photographs']


def test_a_missing_set_is_listed_once(outcome):
    found = outcome(
        more(type='CIFAR10C', data_root='c'), ['standard', 'anchored']
    )
    assert len(found.missing) == 1 and len(found.models) == 2
    assert sets_of(found, 1) == [True, 'Arrays', 'Photographs']


def test_clean_images_that_are_not_there(outcome):
    found = outcome(
        "clean['dataset'] = dict(type='OODFolder', data_root='c')",
        temperature=True,
    )
    (one,) = found.missing
    assert one['name'] == 'Digits' and found.failed == []
    # there are no clean scores to compare with
    assert sets_of(found) == [False, 'Arrays']
    assert found.models[0]['reliability'] is None


def write(data, name, content):
    path = data / 'arrays' / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)


BROKEN = {
    'cut short': (
        'frost.npy',
        lambda image: image.tobytes()[:900],
        "whole .npy file, but got one that can't be read",
    ),
    'five severities': (
        'frost.npy',
        lambda image: image[:-1],
        'to hold five .* but got 99 images and 100',
    ),
    'dtype': (
        'fog.npy',
        lambda image: image.astype(float),
        r'\(N, H, W, 3\) in uint8, but got \(100, 16.* in float64',
    ),
    'shape': (
        'fog.npy',
        lambda image: image[..., 0],
        r'\(N, H, W, 3\) in uint8, but got \(100, 16, 16\) in uint8',
    ),
    'labels': (
        'labels.npy',
        lambda image: np.zeros(7, int),
        'got 100 images and 7 labels. Download or write both again',
    ),
    'no label': (
        'labels.npy',
        lambda image: np.full(100, 11),
        'labels from 0 to 9, but got 11',
    ),
    'kinds of label': (
        'labels.npy',
        lambda image: np.zeros(100),
        r'labels of shape \(N,\) in integers, but got .* in f',
    ),
}


@pytest.mark.parametrize('case', BROKEN)
def test_a_broken_set(outcome, data, case):
    name, make, message = BROKEN[case]
    write(data, name, make(np.load(data / 'arrays' / 'fog.npy')))
    found = outcome(words=('standard', 'anchored'))
    assert [(one['model'], one['name']) for one in found.failed] == [
        ('standard', 'Arrays'),
        ('anchored', 'Arrays'),
    ]
    assert re.search(message, found.failed[1]['reason'])
    assert sets_of(found, 0) == sets_of(found, 1) == [True, 'Photographs']


def test_an_npy_file_cut_short(outcome, data):
    path = data / 'arrays' / 'frost.npy'
    path.write_bytes(path.read_bytes()[:-100])
    found = outcome()
    (one,) = found.failed
    assert 'frost.npy to be a whole .npy file, but got' in one['reason']
    assert sets_of(found) == [True, 'Photographs']


@pytest.mark.parametrize(
    'change, message',
    [
        ('missing', '200 in all, but got 1 missing'),
        ('extra', 'but got 1 unknown (n00000000)'),
    ],
)
def test_class_folders_missing_or_extra(outcome, data, change, message):
    wnids = imagenet_wnids('a')
    names = wnids[1:] if change == 'missing' else (*wnids, 'n00000000')
    for name in names:
        (data / 'a' / name).mkdir(parents=True)
    found = outcome(more(type='ImageNetA', data_root='a'))
    (one,) = found.failed
    assert one['name'] == 'More' and message in one['reason']
    assert sets_of(found) == [True, 'Arrays', 'Photographs']


def test_an_image_that_can_not_be_read(outcome, data):
    for i in range(10):
        (data / 'files' / str(i)).mkdir(parents=True)
        Image.new('RGB', (16, 16)).save(data / 'files' / str(i) / 'a.png')
    (data / 'files' / '7' / 'a.png').write_text('no image')
    found = outcome(more(type='CustomDataset', data_root='files'))
    (one,) = found.failed
    assert 'files/7/a.png to be an image, but got a file' in one['reason']
    assert sets_of(found) == [True, 'Arrays', 'Photographs']


@pytest.mark.parametrize(
    'part, left',
    [
        ('clean', [False, 'Arrays']),
        ('ood[0]', [True, 'Arrays']),
    ],
)
def test_no_image_at_all(outcome, part, left):
    line = f"{part}['dataset'] = dict(type='NothingAtAll', ann_file='')"
    found = outcome(line)
    (one,) = found.failed
    assert 'Expected images in ' in one['reason']
    assert 'but got none. Change the data set' in one['reason']
    assert sets_of(found) == left


def test_no_clean_image_of_the_classes_that_a_set_has(outcome):
    line = (
        "ood[0]['dataset'].update(metainfo=dict(kept_classes=(1, 2)))\n"
        "clean['dataset'].update(indices={})"
    )
    labels = DATASETS.build(dict(type='Digits', split='test')).get_gt_labels()
    found = outcome(line.format(np.flatnonzero(labels > 2)[:9].tolist()))
    (one,) = found.failed
    assert 'one image or more to measure on, but got none' in one['reason']
    assert sets_of(found) == [True, 'Arrays']
    found = outcome(line.format(np.flatnonzero(labels > 0)[:90].tolist()))
    assert found.failed == []
    assert sets_of(found) == [True, 'Arrays', 'Photographs']


def test_everything_that_is_wrong_is_in_the_report(
    trained, measured, tmp_path, data, capsys
):
    (data / 'arrays' / 'labels.npy').write_bytes(b'[no] array')
    results = measured(
        trained.standard, more=more(type='CIFAR10C', data_root='[gone]')
    )
    assert len(results['missing']) == len(results['failed']) == 1
    text = (tmp_path / 'out' / 'report.md').read_text()
    # lines may break anywhere
    shown = ''.join(capsys.readouterr().out.split())
    assert '## Not measured' in text
    for reason in ('labels.npy to be a whole .npy file', '[gone]'):
        assert reason.replace(' ', '') in shown
    # the report has no folders of the machine
    assert 'labels.npy to be a whole .npy file' in text
    assert 'Failed:standard,Arrays.' in shown
    assert 'Notthere:More.ExpectedCIFAR-10-C' in shown


def test_errors_over_alexnet_s_of_another_suite(outcome, tmp_path):
    with pytest.raises(ValueError, match='ImageNet-C.*--mce, but got Tiny'):
        outcome(mce=True)
    assert not (tmp_path / 'parts').exists()


def test_progress_ends_at_the_end(outcome, data, trained, suite_file):
    counts = []
    (data / 'arrays' / 'frost.npy').unlink()
    suite = load_suite(
        suite_file(more(type='CIFAR10C', data_root='gone')), data
    )
    run_suite(
        suite,
        [Candidate('a', trained.standard_cfg, trained.standard[1], 'a.py')],
        ResultStore(data / 'parts'),
        Settings(),
        done=counts.append,
    )
    # clean; four arrays; all of CIFAR-10-C; one OOD set
    assert sum(counts) == 1 + 4 + 19 * 5 + 1


MORE = """
shifts = [
    dict(
        name='ImageNet-C',
        dataset=dict(
            type='ImageNetC',
            data_root='imagenet-c',
            subset=True,
            metainfo=dict(classes=tuple('0123456789'))),
        kinds={kinds})
]
ood = []
"""


@pytest.fixture
def write_imagenet_c(data):
    """Write kinds of corruption: one image for each class and severity."""

    def written(kinds):
        one = data / 'image.png'
        Image.effect_noise((16, 16), 80).convert('RGB').save(one)
        for kind in kinds:
            for severity in range(1, 6):
                for wnid in imagenet_wnids()[:2]:
                    path = (
                        data
                        / 'imagenet-c'
                        / kind
                        / str(severity)
                        / wnid
                        / 'a.png'
                    )
                    path.parent.mkdir(parents=True)
                    path.hardlink_to(one)
        return MORE.format(kinds=tuple(kinds))

    return written


def test_errors_are_relative_to_alexnet(
    trained, measured, write_imagenet_c, tmp_path
):
    results = measured(
        trained.standard, more=write_imagenet_c(C_KINDS), mce=True
    )
    assert results['failed'] == []
    (row,) = results['models']
    by_kind = row['shifts']['ImageNet-C']['by_kind']
    assert set(by_kind) == set(C_KINDS)
    expected = mean_corruption_error(
        {kind: 100 - one['top1'] for kind, one in by_kind.items()}
    )
    assert row['mce'] == pytest.approx(expected) and row['mce'] > 0
    assert 'mCE' in (tmp_path / 'out' / 'report.md').read_text()
    (again,) = measured(trained.standard, more=MORE.format(kinds=C_KINDS))[
        'models'
    ]
    assert again['mce'] is None
    assert 'mCE' not in (tmp_path / 'out' / 'report.md').read_text()


def test_two_classes_alone_compete(outcome, write_imagenet_c):
    found = outcome(write_imagenet_c(['fog']))
    # both classes have the same image, so one is right
    figures = found.models[0]['shifts']['ImageNet-C']['mean']
    assert figures['top1'] == 50


def test_some_kinds_have_none(outcome, write_imagenet_c):
    with pytest.raises(
        ValueError, match='ImageNet-C, 15 kinds or more at 5 severities'
    ):
        outcome(write_imagenet_c(['fog', 'snow']), mce=True)


def test_other_sets_have_none(outcome):
    with pytest.raises(ValueError, match='but got Tiny. Change the suite, or'):
        outcome(mce=True)
