"""Results of studies, made up without training."""

import numpy as np
import pytest

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.results import assemble_study
from mmanchor.studies.spec import load_study

WAITING = dict(state='to do', reason=None, cells=list('012345678'))
NOISE = np.random.default_rng(0).normal(0, 1, (3, 5))


def of_seeds(values):
    """Values by seed, rounded."""
    return dict(enumerate(np.round(values, 3).tolist()))


def made_up_setting(name, series, x, mean, std=None, paper=None, **more):
    """A setting of ``results.json`` with a clean accuracy."""
    return dict(
        name=name,
        method=series,
        series=series,
        x=x,
        seeds={'0': dict(clean=mean - 1), '1': dict(clean=mean + 1)},
        mean=dict(clean=mean),
        std=dict(clean=std),
        n=2,
        paper={} if paper is None else dict(clean=paper),
        **more,
    )


def made_up_results(*settings):
    """The content of ``results.json``."""
    return dict(
        study='made_up',
        title='Made up',
        caption='Nothing.',
        on=dict(name='here', title='Here'),
        metrics=['clean', 'seconds'],
        settings=list(settings),
        missing=[WAITING],
        conventions=dict(std='of seeds'),
        made_with=[],
        times={
            one['name']: dict(
                mean=dict(seconds=2.0), std=dict(seconds=0.5), n=2
            )
            for one in settings
        },
    )


@pytest.fixture
def made_up(study_file, tmp_path):
    """Results of cells that nothing was trained for."""

    def make(values, baseline=None):
        """Clean accuracy by setting and seed."""
        seeds = sorted({seed for one in values.values() for seed in one})
        study = load_study(
            study_file(
                settings=[
                    dict(name=name, method='standard') for name in values
                ],
                seeds=seeds,
                **({} if baseline is None else dict(baseline=baseline)),
                metrics=['clean', 'ece', 'seconds'],
            )
        )
        cells, store = all_cells(study), CellStore(tmp_path / 'made_up')
        for cell in cells:
            if cell.seed in values[cell.setting.name]:
                top1 = values[cell.setting.name][cell.seed]
                store.write(
                    cell,
                    'done',
                    model=dict(
                        clean=dict(figures=dict(top1=top1, ece=1 - top1 / 100))
                    ),
                    missing=[],
                    times=dict(seconds=1.0, training=1.0, measuring=1.0),
                    versions={},
                    commit='a',
                    device='cpu',
                )
        return assemble_study(study, cells, store)

    return make


def difference(mean, half, n=5):
    """A paired difference with an interval of some half-width."""
    low, high = mean - half, mean + half
    return dict(mean=mean, interval=[low, high], n=n, level=low <= 0 <= high)


def on_ground(ground, **settings):
    """Results on a ground: by setting, differences of `corrupted`."""
    return dict(
        study='evidence',
        on=dict(name=ground),
        baseline='standard',
        jobs={'accuracy': 'corrupted'},
        settings=[
            dict(name='standard', difference=None),
            *[
                dict(name=name, difference=dict(metrics={'corrupted': one}))
                for name, one in settings.items()
            ],
        ],
    )
