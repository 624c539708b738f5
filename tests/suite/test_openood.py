"""OpenOOD's benchmarks, on tiny copies in the published layout."""

import csv
import json

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.suite.images import ImageBatches, TestPipeline
from mmanchor.suite.spec import load_suite

# suite: its sets as their lists are called, with the folders of their images
LAYOUTS = {
    'cifar10-openood': (
        'cifar10',
        dict(
            near=[
                ('CIFAR-100', 'cifar100', 'images_classic/cifar100/test'),
                ('TinyImageNet', 'tin', 'images_classic/tin/test'),
            ],
            far=[
                ('MNIST', 'mnist', 'images_classic/mnist/test'),
                ('SVHN', 'svhn', 'images_classic/svhn/test'),
                ('Textures', 'texture', 'images_classic/texture/banded'),
                ('Places365', 'places365', 'images_classic/places365/airport'),
            ],
        ),
    ),
    'cifar100-openood': (
        'cifar100',
        dict(
            near=[
                ('CIFAR-10', 'cifar10', 'images_classic/cifar10/test'),
                ('TinyImageNet', 'tin', 'images_classic/tin/test'),
            ],
            far=[
                ('MNIST', 'mnist', 'images_classic/mnist/test'),
                ('SVHN', 'svhn', 'images_classic/svhn/test'),
                ('Textures', 'texture', 'images_classic/texture/banded'),
                ('Places365', 'places365', 'images_classic/places365/airport'),
            ],
        ),
    ),
    'imagenet-openood': (
        'imagenet',
        dict(
            near=[
                ('SSB-hard', 'ssb_hard', 'images_largescale/ssb_hard/n0047'),
                ('NINCO', 'ninco', 'images_largescale/ninco/a class'),
            ],
            far=[
                (
                    'iNaturalist',
                    'inaturalist',
                    'images_largescale/inaturalist/images',
                ),
                ('Textures', 'textures', 'images_classic/texture/banded'),
                (
                    'OpenImage-O',
                    'openimage_o',
                    'images_largescale/openimage_o/images',
                ),
            ],
        ),
    ),
}
SIZES = (28, 32, 64, 40)  # sets have images of other sizes


def write_set(root, benchmark, subset, folder, count=4):
    """Images, one of which the list leaves out, and the list."""
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


@pytest.mark.parametrize('name', LAYOUTS)
def test_benchmarks_are_read_as_published(name, tmp_path):
    benchmark, groups = LAYOUTS[name]
    suite = load_suite(name, tmp_path)
    assert [(one.name, one.group) for one in suite.ood] == [
        (label, group) for group, sets in groups.items() for label, *_ in sets
    ]
    folders = [one for sets in groups.values() for one in sets]
    for (_, subset, folder), one in zip(folders, suite.ood):
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


def build(root, subset='tin'):
    return DATASETS.build(
        dict(
            type='OpenOOD',
            data_root=str(root),
            benchmark='cifar10',
            subset=subset,
            pipeline=[],
        )
    )


def test_paths_may_have_spaces(tmp_path):
    write_set(tmp_path, 'cifar10', 'tin', 'images_classic/tin/a class', 2)
    assert (
        build(tmp_path)
        .get_data_info(0)['img_path']
        .endswith('images_classic/tin/a class/0.png')
    )


def test_what_is_not_there_is_refused_with_the_layout(tmp_path):
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
        openood('svhn', 'far'),  # not there
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
    saved = json.loads((tmp_path / 'out/results.json').read_text())
    assert saved['models'][0]['ood_means'] == means
