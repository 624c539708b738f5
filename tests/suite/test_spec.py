"""Suites: their files, and OpenOOD's benchmarks on tiny copies."""

import csv

import numpy as np
import pytest
from helpers.tiny_suites import SUITE
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.datasets import ALL_C_KINDS
from mmanchor.suite.images import ImageBatches, TestPipeline
from mmanchor.suite.spec import FOLDER, HeldOut, load_suite

BUILT_IN = sorted(path.stem for path in FOLDER.glob('*.py'))
# the sets besides the clean one
PUBLISHED = {
    'cifar10': 'CIFAR-10-C CIFAR-10-C̄ CIFAR-10.1 Textures Places365 iSUN',
    'cifar100': 'CIFAR-100-C CIFAR-100-C̄ Textures Places365 iSUN',
    'imagenet': 'ImageNet-C ImageNet-C̄ ImageNet-R ImageNet-A ImageNet-Sketch '
    'ImageNetV2 NINCO iSUN Textures Places365 ImageNet-O',
    'digits': 'Digits-C Photographs',
}


@pytest.fixture
def load(suite_file):
    """Load the tiny suite, with more lines appended."""
    return lambda more='', **options: load_suite(suite_file(more), **options)


def test_no_suite_that_is_published_is_lost():
    assert set(PUBLISHED) <= set(BUILT_IN)


@pytest.mark.parametrize('name', BUILT_IN)
def test_built_in_suites_load_with_their_published_sets(name):
    suite = load_suite(name)
    assert suite.name == name and suite.title
    # OpenOOD's suites have only out-of-distribution sets
    assert suite.ood and bool(suite.shifts) != name.endswith('openood')
    # the digits hold out more: their config gives the reason
    assert suite.held_out == HeldOut(0.4 if name == 'digits' else 0.1, 0)
    for one in suite.sets:
        assert list(one.cells())[0].name == one.name
        assert one.dataset.get('data_root', 'data/').startswith('data/')
    names = [one.name for one in suite.sets[1:]]
    assert ' '.join(names) == PUBLISHED.get(name, ' '.join(names))


@pytest.mark.parametrize(
    'name, images', [('digits', None), ('cifar10-folders-2k', 2000)]
)
def test_small_images_are_corrupted_with_the_settings_of_cifar_c(name, images):
    (made,) = load_suite(name).shifts
    assert made.make and made.settings == 'cifar-c'
    assert made.images == images
    assert made.dataset['data_root'] == f'data/{name}-cifar-c'


def test_a_corrupted_set_is_a_cell_for_each_kind_and_severity(load):
    suite = load_suite('cifar10', 'elsewhere')
    cells = list(suite.shifts[0].cells())
    assert len(cells) == len(ALL_C_KINDS) * 5
    kind = ALL_C_KINDS[0]
    assert cells[4].dataset == dict(
        type='CIFAR10C',
        data_root='elsewhere/CIFAR-10-C',
        kind=kind,
        severity=5,
    )
    assert str(cells[4]) == f'CIFAR-10-C, {kind}, severity 5'
    (plain,) = suite.shifts[2].cells()
    assert plain.kind is plain.severity is None
    assert str(plain) == 'CIFAR-10.1'
    some = [(cell.kind, cell.severity) for cell in load().shifts[0].cells()]
    assert some == [('fog', 1), ('fog', 3), ('frost', 1), ('frost', 3)]


def test_sets_that_are_made_have_no_steps_left():
    suite = load_suite('digits')
    assert suite.shifts[0].steps[0]['type'] == 'Resize'
    assert {cell.steps for cell in suite.shifts[0].cells()} == {()}


def test_data_roots_begin_where_asked(load, tmp_path):
    more = (
        f"ood[0]['dataset'] = dict(type='OODFolder', data_root='{tmp_path}"
        "/iSUN')\nclean['dataset'] = dict(type='OODFolder', "
        "data_root='~/x')"
    )
    suite = load(more, data_root='/disk')
    assert suite.shifts[0].dataset['data_root'] == '/disk/arrays'
    assert suite.ood[0].dataset['data_root'] == f'{tmp_path}/iSUN'
    assert not suite.clean.dataset['data_root'].startswith('/disk')
    assert suite.clean.dataset['data_root'].endswith('/x')
    assert 'data_root' not in load().clean.dataset


def test_a_file_on_another_and_one_with_the_least(tmp_path):
    (tmp_path / 'tiny.py').write_text(SUITE)
    path = tmp_path / 'more.py'
    path.write_text(
        "_base_ = './tiny.py'\n_own = 3\nood = []\n"
        'held_out = dict(share=_own / 10)\n'
    )
    suite = load_suite(path)
    assert (suite.name, suite.title) == ('more', 'Tiny')
    assert suite.clean.dataset['indices'] == 40 and suite.ood == ()
    assert suite.held_out.share == pytest.approx(0.3)
    path.write_text("clean = dict(name='Digits', dataset=dict(type='Digits'))")
    suite = load_suite(path)
    assert suite.title == 'more' and len(suite.sets) == 1


def test_a_suite_file_may_import_a_module(tmp_path, monkeypatch):
    (tmp_path / 'mine_for_suites.py').write_text(
        'from mmpretrain.registry import DATASETS\n'
        'from mmanchor.datasets import Digits\n'
        '@DATASETS.register_module(force=True)\n'
        'class MineForSuites(Digits):\n    pass\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / 'suite.py'
    path.write_text(
        "custom_imports = dict(imports=['mine_for_suites'])\n"
        "clean = dict(name='Mine', dataset=dict(type='MineForSuites'))"
    )
    assert load_suite(path).clean.dataset == dict(type='MineForSuites')


@pytest.mark.parametrize(
    'more, message',
    [
        (
            'shift = []',
            "set title, clean, shifts.*got 'shift'. Did you mean 'shifts'",
        ),
        ('banana = 1', "tiny.py to set title.*but got 'banana'. Remove it"),
        (
            "clean['data_set'] = {}",
            "name, dataset.*'data_set'. Did you mean 'dataset'",
        ),
        ("clean.pop('dataset')", 'to set dataset, but got name. Add dataset'),
        ("ood[0].pop('name')", 'to set name, but got dataset. Add name'),
        ('ood = [{}]', 'to set name, dataset, but got nothing. Add name'),
        ('del clean', 'to set clean, but got title, shifts, ood. Add clean'),
        (
            "ood[0]['name'] = 'Digits'",
            "own, but got two called 'Digits'. Change",
        ),
        (
            "ood[0]['dataset']['type'] = 'Photos'",
            "Photographs in .* registered type, but got 'Photos'. Change it, or nam",
        ),
        ("clean['dataset'].pop('type')", 'Digits in .* type, but got None'),
        (
            'ood = shifts\nshifts = []',
            'Arrays in .* one set of images, but got all kinds.*Add `kind` and',
        ),
        ('held_out = dict(share=1)', 'between 0 and 1, but got 1. Change it'),
        ('held_out = dict(part=1)', "to set share, seed, but got 'part'"),
        (
            "ood[0]['make'] = True\nshifts = ood\nood = []",
            'be CorruptedArrays of all kinds, but got PhotoPatches. Change its',
        ),
        (
            "shifts[0].update(make=True)\nshifts[0]['dataset']['kind'] = 'fog'",
            'Arrays in .*, which is to be made, to be .* or drop `make`',
        ),
        (
            "shifts[0]['settings'] = 'cifar-c'",
            '`settings` of a set that is made, but got it for Arrays.*Add `make',
        ),
        (
            "shifts[0]['images'] = 20",
            '`images` of a set that is made, but got',
        ),
        (
            "shifts[0].update(make=True, settings='cifar')",
            "imagenet-c or cifar-c, but got 'cifar'. Change",
        ),
        (
            "ood[0]['group'] = 'nearly'",
            "'near' or 'far', .*got 'nearly' for Photographs in .*Change it",
        ),
        (
            "shifts[0]['group'] = 'near'",
            "of a set in `ood`, but got 'near' for Arrays",
        ),
        (
            'shifts[0].update(make=True, images=0)',
            '`images` of Arrays .* at least 1, but got 0. Change',
        ),
    ],
)
def test_mistakes_in_a_suite_file_are_refused(load, more, message):
    with pytest.raises(ValueError, match=message):
        load(more)


def test_an_unknown_suite_is_refused(tmp_path):
    expected = (
        "among cifar10, .*, imagenet-openood, or .*got 'cifar11'. Change"
    )
    with pytest.raises(FileNotFoundError, match=expected):
        load_suite('cifar11')
    with pytest.raises(FileNotFoundError, match='but got .*gone.py'):
        load_suite(tmp_path / 'gone.py')


def test_held_out_images_are_drawn_once():
    held_out = HeldOut(0.25, seed=3)
    one, other = (held_out.rows(40, part) for part in (True, False))
    assert len(one) == 10 and len(other) == 30
    assert sorted([*one, *other]) == list(range(40))
    assert np.all(np.diff(one) > 0) and np.all(np.diff(other) > 0)
    assert np.array_equal(one, HeldOut(0.25, seed=3).rows(40, True))
    assert not np.array_equal(one, HeldOut(0.25, seed=4).rows(40, True))
    assert len(HeldOut(0.001).rows(40, True)) == 1


# of each set: its group, its name, what its list is called, and a folder
FAR = """
far MNIST mnist images_classic/mnist/test
far SVHN svhn images_classic/svhn/test
far Textures texture images_classic/texture/banded
far Places365 places365 images_classic/places365/airport"""
LAYOUTS = dict(
    cifar10=f"""
near CIFAR-100 cifar100 images_classic/cifar100/test
near TinyImageNet tin images_classic/tin/test{FAR}""",
    cifar100=f"""
near CIFAR-10 cifar10 images_classic/cifar10/test
near TinyImageNet tin images_classic/tin/test{FAR}""",
    imagenet="""
near SSB-hard ssb_hard images_largescale/ssb_hard/n0047
near NINCO ninco images_largescale/ninco/a class
far iNaturalist inaturalist images_largescale/inaturalist/images
far Textures textures images_classic/texture/banded
far OpenImage-O openimage_o images_largescale/openimage_o/images""",
)
SIZES = (28, 32, 64, 40)  # images in a set differ in size


def write_set(root, benchmark, subset, folder, count=4):
    """Write images, and a list that leaves out one of them."""
    rng = np.random.default_rng(len(subset))
    (root / folder).mkdir(parents=True, exist_ok=True)
    top, inside = folder.split('/', 1)
    lines = []
    for i in range(count):
        size = SIZES[i % len(SIZES)]
        image = rng.integers(0, 256, (size, size + 2, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / folder / f'{i}.png')
        if i < count - 1:
            lines.append(f'{inside}/{i}.png -1')
    path = root / 'benchmark_imglist' / benchmark / f'test_{subset}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return path


@pytest.mark.parametrize('benchmark', LAYOUTS)
def test_benchmarks_are_read_as_published(benchmark, tmp_path):
    suite = load_suite(f'{benchmark}-openood', tmp_path)
    sets = [line.split(' ', 3) for line in LAYOUTS[benchmark].split('\n')[1:]]
    assert [[one.group, one.name] for one in suite.ood] == [
        one[:2] for one in sets
    ]
    for (*_, subset, folder), one in zip(sets, suite.ood):
        write_set(tmp_path / 'openood', benchmark, subset, folder)
        pipeline = TestPipeline(
            [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        )
        batches = ImageBatches(one.as_ood(), pipeline, batch_size=1)
        assert batches.labels.tolist() == [-1, -1, -1]
        shapes = [tuple(batch.shape[1:]) for batch in batches]
        if benchmark == 'imagenet':  # the model's own pipeline resizes
            assert shapes == [(3, size, size + 2) for size in SIZES[:3]]
        else:
            assert shapes == [(3, 32, 32)] * 3
        assert all(
            f'/openood/{folder}/' in info['img_path']
            for info in map(batches.dataset.get_data_info, range(3))
        )


def build(root):
    return DATASETS.build(
        dict(
            type='OpenOOD',
            data_root=str(root),
            benchmark='cifar10',
            subset='tin',
            pipeline=[],
        )
    )


def test_a_missing_set_is_refused_with_its_layout(tmp_path):
    with pytest.raises(
        FileNotFoundError, match='benchmark_imglist/.*test_tin.txt is not'
    ):
        build(tmp_path)
    path = write_set(tmp_path, 'cifar10', 'tin', 'images_classic/tin/test')
    (tmp_path / 'images_classic').rename(tmp_path / 'images')
    with pytest.raises(FileNotFoundError, match='images_classic/tin is not'):
        build(tmp_path)
    (tmp_path / 'images').rename(tmp_path / 'images_largescale')
    (tmp_path / 'images_largescale/tin/test/1.png').unlink()
    with pytest.raises(ValueError, match='all 3 .* got 1 fewer: tin/test/1'):
        build(tmp_path)
    path.write_text('\n')
    with pytest.raises(ValueError, match='to name images, but got none'):
        build(tmp_path)


def openood(subset, group):
    return (
        f"dict(name='{subset}', group='{group}', dataset=dict(type='OpenOOD', "
        f"data_root='openood', benchmark='cifar10', subset='{subset}'), "
        "steps=[dict(type='Resize', scale=(16, 16))])"
    )


def test_near_and_far_have_means_of_their_own(
    measured, trained, data, tmp_path
):
    for subset in ('tin', 'cifar100', 'mnist'):
        folder = f'images_classic/{subset}/test'
        write_set(data / 'openood', 'cifar10', subset, folder, 12)
    sets = [
        openood('tin', 'near'),
        openood('cifar100', 'near'),
        openood('mnist', 'far'),
        openood('svhn', 'far'),  # this set is missing
    ]
    results = measured(
        trained.standard,
        more=f'shifts = []\nood += [{", ".join(sets)}]',
        scores=['energy', 'msp'],
    )
    assert [one['name'] for one in results['missing']] == ['svhn']
    (model,) = results['models']
    means = model['ood_means']
    assert {group: one['sets'] for group, one in means.items()} == dict(
        near=['tin', 'cifar100'], far=['mnist']
    )
    of = {name: one['scores'] for name, one in model['ood'].items()}
    for figure in ('auroc', 'aupr', 'fpr95', 'auroc_low'):
        assert means['near']['scores']['msp'][figure] == pytest.approx(
            (of['tin']['msp'][figure] + of['cifar100']['msp'][figure]) / 2
        )
        assert means['far']['scores']['msp'][figure] == pytest.approx(
            of['mnist']['msp'][figure]
        )
    text = (tmp_path / 'out/report.md').read_text(encoding='utf-8')
    assert '| mnist | near, mean | far, mean |' in text
    assert 'Near: tin, cifar100. Far: mnist.' in text
    with open(tmp_path / 'out/results.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    (row,) = (
        row
        for row in rows
        if (row['set'], row['figure']) == ('near (mean)', 'energy_auroc')
    )
    assert float(row['value']) == means['near']['scores']['energy']['auroc']
