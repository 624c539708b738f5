"""Missing and damaged sets, progress, and mean corruption errors."""

import re
from itertools import product

import numpy as np
import pytest
from helpers.tiny_suites import candidate_of, sets_of
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.datasets import C_KINDS, imagenet_wnids
from mmanchor.evaluation import mean_corruption_error
from mmanchor.suite.cache import ResultStore
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
        (dict(type='CIFAR10C'), 'CIFAR-10-C ', 'KIND.npy, .50000'),
        (dict(type='CIFAR10_1'), 'CIFAR-10.1 ', 'cifar10.1_v6_'),
        (dict(type='OODFolder', name='NINCO'), 'NINCO ', r'\*\*/'),
        (
            dict(type='CIFAR100', split='test', download=False),
            'More as CIFAR100 reads it',
            'DATA_ROOT/cifar-100-python/test, but got',
        ),
        (
            dict(type='ImageNet', split='val'),
            'More as ImageNet reads it',
            'layout DATA_ROOT/val/WNID/.*/c/val',
        ),
        (
            dict(type='CustomDataset'),
            'More as CustomDataset reads it',
            'layout DATA_ROOT/CLASS/.*/c/',
        ),
    ],
)
def test_a_set_that_is_not_there_is_listed_once(
    outcome, dataset, official, layout
):
    words = ['standard', 'anchored'][: 1 + (dataset['type'] == 'CIFAR10C')]
    found = outcome(more(data_root='c', **dataset), words)
    (one,) = found.missing
    assert one['name'] == 'More' and found.failed == []
    assert one['reason'].startswith(f'Expected {official}')
    assert one['reason'].rstrip('.').endswith('or change `data_root`')
    assert re.search(layout, one['reason'])
    assert len(found.models) == len(words)
    assert sets_of(found, -1) == [True, 'Arrays', 'Photographs']


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


BROKEN = {
    'cut short': ('frost.npy', None, 'frost.npy to be a whole .npy file'),
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
    path = data / 'arrays' / name
    if make is None:
        content = path.read_bytes()[:-100]
    else:
        content = make(np.load(data / 'arrays' / 'fog.npy'))
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    # the failure is recorded for each model
    words = ['standard', 'anchored'][: 1 + (case == 'labels')]
    found = outcome(words=words)
    failed = [(one['model'], one['name']) for one in found.failed]
    assert failed == [(word, 'Arrays') for word in words]
    assert re.search(message, found.failed[-1]['reason'])
    assert sets_of(found, -1) == [True, 'Photographs']


@pytest.mark.parametrize(
    'part, left',
    [('clean', [False, 'Arrays']), ('ood[0]', [True, 'Arrays'])],
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
    with pytest.raises(ValueError, match='--mce, but got Tiny. Change the su'):
        outcome(mce=True)
    assert not (tmp_path / 'parts').exists()


def test_progress_ends_at_the_end(data, trained, suite_file):
    counts = []
    (data / 'arrays' / 'frost.npy').unlink()
    text = suite_file(more(type='CIFAR10C', data_root='gone'))
    run_suite(
        load_suite(text, data),
        [candidate_of(trained, 'standard')],
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
        wnids, root = imagenet_wnids()[:2], data / 'imagenet-c'
        for kind, severity, wnid in product(kinds, '12345', wnids):
            folder = root / kind / severity / wnid
            folder.mkdir(parents=True)
            (folder / 'a.png').hardlink_to(one)
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
