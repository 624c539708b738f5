"""Figures of results made up for them."""

import numpy as np
import pytest
from helpers.study_results import (
    NOISE,
    made_up_results,
    made_up_setting,
    of_seeds,
)

from mmanchor.studies.figures import difference_figure, study_figure
from mmanchor.studies.spec import Plot


def texts(labels):
    return [label.get_text() for label in labels]


def lines(axes):
    return {
        tuple(np.array(line.get_ydata(), float)): line
        for line in axes.get_lines()
    }


def test_lines_by_x_with_what_is_all_along_and_what_was_published():
    found = study_figure(
        made_up_results(
            made_up_setting('standard', 'standard', None, 75.0, 1.0, 76.0),
            made_up_setting('50', 'masked', 50, 80.0, 2.0, 81.0),
            made_up_setting('5', 'masked', 5, 70.0, 1.0, 71.0),
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
    assert texts(clean.get_xticklabels()) == ['50', '5'] and list(
        clean.get_xticks()
    ) == [50, 5]
    assert (2.0, 2.0) in lines(seconds)
    names = texts(found.legends[0].get_texts())
    assert names == ['standard', 'standard, paper', 'masked', 'masked, paper']


def test_words_on_the_axis_stand_in_order():
    found = study_figure(
        made_up_results(
            made_up_setting('b', 'masked', 'second', 80.0),
            made_up_setting('a', 'masked', 'first', 70.0),
        ),
        Plot('lines', ['clean']),
    )
    (axes,) = found.axes
    assert list(lines(axes)[80.0, 70.0].get_xdata()) == [0, 1]
    assert texts(axes.get_xticklabels()) == ['second', 'first']


def test_points_have_their_spread_and_each_seed():
    found = study_figure(
        made_up_results(
            made_up_setting('alone', 'standard', None, 75.0),
            made_up_setting('a', 'anchored', 'word', 70.0, 1.5, 69.0),
            made_up_setting('b', 'masked', 'word', 80.0, 2.0),
        ),
        Plot('points', ['clean']),
    )
    (axes,) = found.axes
    assert texts(axes.get_xticklabels()) == ['alone', 'word']
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
    waiting = dict(
        made_up_setting('waiting', 'a', None, 0.0), mean={}, std={}, n=0
    )
    found = study_figure(
        made_up_results(
            *[made_up_setting(name, 'a', None, 70.0) for name in names],
            waiting,
        ),
        Plot('points', ['clean']),
    )
    found.canvas.draw()
    labels = found.axes[0].get_xticklabels()
    assert texts(labels) == names
    inside = found.bbox
    for text in labels:
        box = text.get_window_extent()
        assert inside.y0 <= box.y0 and box.y1 <= found.axes[0].bbox.y0


def test_many_settings_stand_below_each_other():
    names = [f'setting {i}: of two words, and more' for i in range(11)]
    found = study_figure(
        made_up_results(
            *[
                made_up_setting(
                    name, 'a', None, 70.0 + i, 1.0, 90.0 if i == 2 else None
                )
                for i, name in enumerate(names)
            ]
        ),
        Plot('points', ['clean', 'seconds']),
    )
    clean, seconds = found.axes
    assert texts(clean.get_yticklabels()) == names
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
        made_up_results(
            made_up_setting('a', 'masked', None, 1.0, landscape=parts),
            made_up_setting('b', 'masked', None, 1.0, landscape=parts),
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
    empty = made_up_setting('a', 'masked', 1, 1.0)
    empty['mean'] = empty['std'] = {}
    made_up = made_up_results(empty)
    made_up['times'] = {}
    assert study_figure(made_up, Plot(kind)) is None


def test_differences_have_intervals_and_level_ones_are_empty(made_up):
    results = made_up(
        {
            'standard': of_seeds(70 + NOISE[0]),
            'better': of_seeds(75 + NOISE[1]),
            'level': of_seeds(70.1 + NOISE[2]),
        }
    )
    figure = difference_figure(results, ['clean', 'ece', 'seconds'])
    assert [axes.get_title() for axes in figure.axes] == [
        'clean accuracy (%)',
        'ECE, clean',
    ]
    axes = figure.axes[0]
    bars = [one.get_segments()[0][:, 0].tolist() for one in axes.collections]
    found = [
        one['difference']['metrics']['clean']
        for one in results['settings'][1:]
    ]
    assert bars == [pytest.approx(one['interval']) for one in found]
    marks = [line for line in axes.get_lines() if line.get_marker() != 'None']
    assert [line.get_xdata()[0] for line in marks] == [
        one['mean'] for one in found
    ]
    assert [line.get_markerfacecolor() == 'white' for line in marks] == [
        False,
        True,
    ]
    assert texts(axes.get_yticklabels()) == ['better', 'level']
    low, high = axes.get_ylim()
    assert low > high  # the first on top
