"""ImageNet-C's mean corruption error, on a set of two classes."""

import pytest
from PIL import Image

from mmanchor.datasets import C_KINDS, imagenet_wnids
from mmanchor.evaluation import mean_corruption_error

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
def write(data):
    """Write kinds of corruption, an image a class and severity."""

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


def test_errors_are_relative_to_alexnet(trained, measured, write, tmp_path):
    results = measured(trained.standard, more=write(C_KINDS), mce=True)
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


def test_two_classes_alone_compete(outcome, write):
    found = outcome(write(['fog']))
    # the same image of both: one is right
    figures = found.models[0]['shifts']['ImageNet-C']['mean']
    assert figures['top1'] == 50


def test_some_kinds_have_none(outcome, write):
    with pytest.raises(
        ValueError, match='ImageNet-C, 15 kinds or more at 5 severities'
    ):
        outcome(write(['fog', 'snow']), mce=True)


def test_other_sets_have_none(outcome):
    with pytest.raises(ValueError, match='but got Tiny. Change the suite, or'):
        outcome(mce=True)
