"""Figures and tables of results made up for them."""

import numpy as np
import pytest

from mmanchor.studies.cells import CellStore, all_cells
from mmanchor.studies.figures import study_figure
from mmanchor.studies.report import csv_text, markdown_report, study_table
from mmanchor.studies.results import assemble
from mmanchor.studies.spec import Plot, load_study

_WAITING = dict(state='to do', reason=None, cells=list('012345678'))


def setting(name, series, x, mean, std=None, paper=None, **more):
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


def results(*settings):
    return dict(
        study='made_up',
        title='Made up',
        caption='Nothing.',
        on=dict(name='here', title='Here'),
        metrics=['clean', 'seconds'],
        settings=list(settings),
        missing=[_WAITING],
        conventions=dict(std='of seeds'),
        made_with=[],
        times={
            one['name']: dict(
                mean=dict(seconds=2.0), std=dict(seconds=0.5), n=2
            )
            for one in settings
        },
    )


def lines(axes):
    return {
        tuple(np.array(line.get_ydata(), float)): line
        for line in axes.get_lines()
    }


def test_lines_by_x_with_what_is_all_along_and_what_was_published():
    found = study_figure(
        results(
            setting('standard', 'standard', None, 75.0, 1.0, 76.0),
            setting('50', 'masked', 50, 80.0, 2.0, 81.0),
            setting('5', 'masked', 5, 70.0, 1.0, 71.0),
        ),
        Plot('lines', ['clean', 'seconds'], 'size', True),
    )
    clean, seconds = found.axes
    drawn = lines(clean)
    assert drawn[70.0, 80.0].get_linestyle() == '-'
    assert drawn[71.0, 81.0].get_linestyle() == ':'
    assert (75.0, 75.0) in drawn and (76.0, 76.0) in drawn
    assert list(drawn[70.0, 80.0].get_xdata()) == [5, 50]
    assert clean.get_xscale() == 'log'
    assert [text.get_text() for text in clean.get_xticklabels()] == [
        '50',
        '5',
    ] and list(clean.get_xticks()) == [50, 5]
    assert (2.0, 2.0) in lines(seconds)
    names = [text.get_text() for text in found.legends[0].get_texts()]
    assert names == ['standard', 'standard, paper', 'masked', 'masked, paper']


def test_words_on_the_axis_stand_in_order():
    found = study_figure(
        results(
            setting('b', 'masked', 'second', 80.0),
            setting('a', 'masked', 'first', 70.0),
        ),
        Plot('lines', ['clean']),
    )
    (axes,) = found.axes
    assert list(lines(axes)[80.0, 70.0].get_xdata()) == [0, 1]
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        'second',
        'first',
    ]


def test_points_have_their_spread_and_each_seed():
    found = study_figure(
        results(
            setting('alone', 'standard', None, 75.0),
            setting('a', 'anchored', 'word', 70.0, 1.5, 69.0),
            setting('b', 'masked', 'word', 80.0, 2.0),
        ),
        Plot('points', ['clean']),
    )
    (axes,) = found.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        'alone',
        'word',
    ]
    assert {(75.0,), (70.0,), (80.0,), (69.0, 71.0)} <= set(lines(axes))
    places = [lines(axes)[mean,].get_xdata()[0] for mean in (75.0, 70.0, 80.0)]
    assert places[0] == 0 and places[1] < 1 < places[2]
    marks = [
        collection
        for collection in axes.collections
        if collection.get_linestyle()[0][1]
    ]
    assert len(marks) == 1  # what was published
    assert marks[0].get_segments()[0][0][1] == 69


def test_names_that_are_slanted_have_room_and_figures():
    names = [f'setting {i}: of two words, and more' for i in range(5)]
    waiting = dict(setting('waiting', 'a', None, 0.0), mean={}, std={}, n=0)
    found = study_figure(
        results(*[setting(name, 'a', None, 70.0) for name in names], waiting),
        Plot('points', ['clean']),
    )
    found.canvas.draw()
    labels = found.axes[0].get_xticklabels()
    assert [text.get_text() for text in labels] == names
    inside = found.bbox
    for text in labels:
        box = text.get_window_extent()
        assert inside.y0 <= box.y0 and box.y1 <= found.axes[0].bbox.y0


def test_many_settings_stand_below_each_other():
    names = [f'setting {i}: of two words, and more' for i in range(11)]
    found = study_figure(
        results(
            *[
                setting(
                    name, 'a', None, 70.0 + i, 1.0, 90.0 if i == 2 else None
                )
                for i, name in enumerate(names)
            ]
        ),
        Plot('points', ['clean', 'seconds']),
    )
    clean, seconds = found.axes
    assert [text.get_text() for text in clean.get_yticklabels()] == names
    assert not any(text.get_visible() for text in seconds.get_yticklabels())
    means = {
        line.get_ydata()[0]: line.get_xdata()[0]
        for line in clean.get_lines()
        if len(line.get_xdata()) == 1 and line.get_marker() == 'o'
    }
    assert means == {i: 70.0 + i for i in range(11)}
    low, high = clean.get_ylim()
    assert low > high  # the first on top
    published = [
        one.get_segments()[0][0][0]
        for one in clean.collections
        if one.get_linestyle()[0][1]
    ]
    assert published == [90.0]
    found.canvas.draw()
    boxes = [text.get_window_extent() for text in clean.get_yticklabels()]
    for above, below in zip(boxes, boxes[1:]):
        assert below.y1 <= above.y0


def test_a_landscape_is_a_map_for_each_setting_and_direction():
    steps = [-1.0, 0.0, 1.0]
    values = np.arange(9.0).reshape(3, 3)
    parts = dict(
        steps=steps, normalised=values.tolist(), raw=(10 * values).tolist()
    )
    found = study_figure(
        results(
            setting('a', 'masked', None, 1.0, landscape=parts),
            setting('b', 'masked', None, 1.0, landscape=parts),
        ),
        Plot('landscape'),
    )
    panels = found.axes[:4]
    maps = [axes.collections[0] for axes in panels]
    assert [np.asarray(one.get_array()).sum() for one in maps] == [
        36,
        36,
        360,
        360,
    ]
    assert {one.get_clim() for one in maps} == {(0.0, 80.0)}
    assert panels[0].get_title() == 'a'
    assert panels[2].get_ylabel().startswith('raw')


@pytest.mark.parametrize('kind', ['lines', 'points', 'landscape'])
def test_nothing_to_draw_is_no_figure(kind):
    empty = setting('a', 'masked', 1, 1.0)
    empty['mean'] = empty['std'] = {}
    made_up = results(empty)
    made_up['times'] = {}
    assert study_figure(made_up, Plot(kind)) is None


def test_tables_have_what_was_published_beside_what_was_found():
    made_up = results(
        setting('a', 'masked', 1, 80.0, 2.0, 81.0),
        setting('b', 'masked', 2, 70.0, None),
    )
    table = study_table(made_up)
    assert table.header == [
        'setting',
        'seeds',
        'clean accuracy (%)',
        'clean accuracy (%), paper',
        'seconds for 1000 images',
    ]
    assert table.rows == [
        ['a', '2', '80.0 ± 2.0', '81.0', '2.00 ± 0.50'],
        ['b', '2', '70.0', '–', '2.00 ± 0.50'],
    ]
    text = markdown_report(made_up, ['made_up.png'])
    assert '| a | 2 | 80.0 ± 2.0 | 81.0 |' in text
    assert '- to do: 0; 1; 2 and 6 more cells\n' in text
    assert '[PDF](made_up.pdf)' in text
    assert csv_text(made_up).splitlines()[1] == (
        'a,masked,1,clean,80.0,2.0,2,81.0,0:79.0 1:81.0,,,,,,'
    )


def test_the_table_names_the_settings_of_the_corruptions():
    made_up = dict(
        results(setting('a', 'a', None, 80.0)),
        shifted='Digits-C',
        corruptions=["19 kinds × 5 severities, CIFAR-C's settings"],
    )
    caption = study_table(made_up).caption
    assert caption == (
        'Nothing. Corrupted: Digits-C, 19 kinds × 5 '
        "severities, CIFAR-C's settings."
    )
    assert caption in markdown_report(made_up, [])


@pytest.mark.parametrize(
    'on,cell,told',
    [
        ('digits', {}, "CIFAR-C's settings"),
        (
            'digits',
            dict(settings='imagenet-c', images=None),
            "ImageNet-C's settings",
        ),
        (
            'cifar10',
            dict(settings='cifar-c', images=None),
            "CIFAR-C's settings",
        ),
        (
            'digits',
            dict(settings='cifar-c', images=100),
            "CIFAR-C's settings, of 100 images",
        ),
    ],
)
def test_settings_are_those_that_cells_were_measured_with(
    on, cell, told, tmp_path
):
    study, store = load_study('masking', on), CellStore(tmp_path)
    cells = all_cells(study)
    assert assemble(study, cells, store)['corruptions'] == []
    store.write(
        cells[0],
        'done',
        model={},
        failed=[],
        missing=[],
        times=dict(training=1.0, measuring=1.0),
        versions={},
        commit='',
        device='cpu',
        **(dict(corruptions={study.on.shifted: cell}) if cell else {}),
    )
    assert assemble(study, cells, store)['corruptions'] == [
        f'19 kinds × 5 severities, {told}'
    ]


@pytest.mark.parametrize(
    'on,options,published',
    [
        ('cifar100', None, 50.18),
        ('cifar10', None, None),
        ('digits', None, None),
        ('cifar100', {'train_cfg.max_epochs': 10}, None),
    ],
)
def test_what_was_published_stands_beside_the_same_alone(
    on, options, published, tmp_path
):
    study = load_study('alpha', on)
    found = assemble(
        study, all_cells(study, options), CellStore(tmp_path), not options
    )
    assert found['settings'][0]['paper'].get('corrupted') == published
    (waiting,) = found['missing']
    assert waiting['state'] == 'to do'
    assert len(waiting['cells']) == 3 * len(study.settings)
