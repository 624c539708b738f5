"""Figures: what they show, and the bytes of their files."""

import numpy as np
import pytest
from helpers.suite_results import KINDS, NAMES, fake_results
from matplotlib import rc_context, style
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mmanchor.evaluation.confidence_intervals import rank_correlation
from mmanchor.suite.figures import reliability
from mmanchor.suite.figures.accuracy import heat_map, severity_figure
from mmanchor.suite.figures.ood import ood_figure
from mmanchor.suite.figures.reliability import reliability_figures
from mmanchor.suite.figures.spread import spread_figure
from mmanchor.suite.figures.style import COLOURS, STYLE, label
from mmanchor.suite.report.page import CAPTIONS
from mmanchor.suite.report.writer import all_figures, draw_all
from mmanchor.suite.results import SuiteResults


@pytest.fixture(autouse=True)
def _styled():
    with style.context(['default', STYLE]):
        yield


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def legend_texts(figure):
    return [
        text.get_text()
        for legend in figure.legends
        for text in legend.get_texts()
    ]


def cells(axes):
    """The texts of a heat map, row by row."""
    rows, columns = axes.images[0].get_array().shape
    texts = [text.get_text() for text in axes.texts]
    return np.array(texts).reshape(rows, columns)


def test_a_line_a_model_starts_with_clean_images():
    results = fake_results(3, ('a', 'b'))
    figure = severity_figure(SuiteResults(results))
    titles = [axes.get_title(loc='left') for axes in panels(figure)]
    assert titles == ['a', 'b']
    for name, axes in zip('ab', panels(figure)):
        assert len(axes.lines) == 3
        for i, (line, model) in enumerate(zip(axes.lines, results['models'])):
            part = model['shifts'][name]['by_severity']
            assert line.get_ydata().tolist() == [
                model['clean']['figures']['top1'],
                *(part[s]['top1'] for s in '12345'),
            ]
            assert line.get_color() == COLOURS[i]
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ['clean', *'12345']
    assert legend_texts(figure) == list(NAMES[:3])


def test_lines_keep_their_colours_and_gaps_where_something_is_missing():
    results = fake_results(3)
    del results['models'][1]['shifts']['CIFAR-10-C']
    results['models'][2]['clean'] = None
    del results['models'][2]['shifts']['CIFAR-10-C']['by_severity']['3']
    figure = severity_figure(SuiteResults(results))
    _, line = panels(figure)[0].lines
    assert line.get_color() == COLOURS[2]
    assert np.isnan(line.get_ydata()).tolist() == [1, 0, 0, 1, 0, 0]
    assert legend_texts(figure) == [NAMES[0], NAMES[2]]


def test_twelve_models_have_different_lines():
    lines = panels(severity_figure(SuiteResults(fake_results(12))))[0].lines
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in lines
    }
    assert len(looks) == 12


def test_a_heat_map_has_accuracy_and_then_differences():
    results = fake_results(3)
    part = results['models'][0]['shifts']['CIFAR-10-C']
    other = results['models'][2]['shifts']['CIFAR-10-C']
    part['cells']['fog']['5']['top1'] = 60.0
    other['cells']['fog']['5']['top1'] = 72.36
    other['cells']['frost']['1'] = None
    first, second, third, *_ = panels(
        heat_map(SuiteResults(results), 'CIFAR-10-C')
    )
    assert [t.get_text() for t in first.get_yticklabels()] == [
        *(kind.replace('_', ' ') for kind in KINDS[:15]),
        'mean',
    ]
    fog, frost = KINDS.index('fog'), KINDS.index('frost')
    assert cells(first).shape == (16, 6)
    assert cells(first)[fog, 4] == '60.0'
    assert cells(third)[fog, 4] == '+12.4'
    assert cells(third)[frost, 0] == '–'
    assert cells(first)[-1, -1] == f'{part["mean"]["top1"]:.1f}'
    difference = (
        other['by_severity']['2']['top1'] - (part['by_severity']['2']['top1'])
    )
    assert cells(third)[-1, 1] == f'{difference:+.1f}'.replace('-', '−')
    assert second.images[0].get_clim() == third.images[0].get_clim()
    low, high = third.images[0].get_clim()
    assert low == -high and high >= 12.3


def test_a_heat_map_starts_with_the_first_model_that_has_the_set():
    results = fake_results(3)
    results['models'][0]['shifts'] = {}
    first, second, *_ = panels(heat_map(SuiteResults(results), 'CIFAR-10-C'))
    assert first.get_title(loc='left') == f'{NAMES[1]}\naccuracy'
    assert second.get_title(loc='left') == f'{NAMES[2]}\ndifference'
    assert heat_map(SuiteResults(results), 'CIFAR-10.1') is None


def test_equal_models_differ_by_zero():
    results = fake_results(2, num_kinds=2)
    results['models'][1]['shifts'] = results['models'][0]['shifts']
    second = panels(heat_map(SuiteResults(results), 'CIFAR-10-C'))[1]
    assert set(cells(second).flat) == {'+0.0'}
    assert second.images[0].get_clim() == (-1, 1)


def test_reliability_has_bins_gaps_shares_and_the_error():
    results = fake_results(2)
    model = results['models'][1]
    bins = model['shifts']['CIFAR-10-C']['reliability']
    bins.update(
        count=[0] * 12 + [2, 30, 90],
        accuracy=[None] * 12 + [0.5, 0.7, 0.8],
        confidence=[None] * 12 + [0.5, 0.9, 0.75],
    )
    model['shifts']['CIFAR-10-C']['mean']['ece'] = 0.0876
    (figure,) = reliability_figures(SuiteResults(results))
    # models; sets; diagram and histogram
    assert len(panels(figure)) == 2 * 2 * 3
    (axes,) = [
        axes
        for axes in panels(figure)
        # above the panel, where it hides no bar
        if axes.get_title(loc='left') == 'ECE (pooled) 0.086'
    ]
    bars, gaps = axes.containers
    assert [bar.get_height() for bar in bars][-2:] == [0.7, 0.8]
    assert np.allclose([gap.get_height() for gap in gaps][-2:], [0.2, -0.05])
    assert [gap.get_y() for gap in gaps][-2:] == [0.7, 0.8]
    assert to_hex(bars[0].get_facecolor()) == COLOURS[1]
    # of two images, an accuracy says little
    assert bars[12].get_alpha() < bars[13].get_alpha() == 0.55
    assert 'pale: fewer than 10 images' in legend_texts(figure)
    shares = panels(figure)[panels(figure).index(axes) + 2].containers[0]
    heights = [bar.get_height() for bar in shares][-2:]
    assert heights == pytest.approx([100 * 30 / 122, 100 * 90 / 122])


def test_reliability_goes_on_to_more_pages(monkeypatch):
    monkeypatch.setattr(reliability, 'MODELS_IN_A_FIGURE', 2)
    monkeypatch.setattr(reliability, 'SETS_IN_A_FIGURE', 1)
    results = fake_results(3, num_kinds=1, plain=())
    results['models'][1]['reliability'] = None
    pages = reliability_figures(SuiteResults(results))
    # of clean images the second model has no bins
    assert [len(panels(page)) for page in pages] == [2, 2, 4, 2]
    for model in results['models']:
        model.update(reliability=None, shifts={})
    assert reliability_figures(SuiteResults(results)) == []


def test_anomaly_scores_are_densities_and_curves():
    results = fake_results(3)
    scores = results['models'][1]['ood']['SVHN']['scores']
    scores['energy'].update(
        auroc=0.876,
        roc=dict(fpr=[0, 0.5, 1], tpr=[0, 0.75, 1]),
        histogram={'edges': [0, 2, 4], 'in': [30, 10], 'out': [0, 5]},
    )
    del results['models'][2]['ood']['SVHN']
    figure = ood_figure(SuiteResults(results), 'SVHN')
    *histograms, curves = panels(figure)
    labels = [axes.get_xlabel() for axes in histograms]
    assert labels == ['msp score', 'energy score']
    inside, outside = [one.get_data().values for one in histograms[1].patches]
    assert inside.tolist() == [0.375, 0.125]
    assert outside.tolist() == [0, 0.5]
    assert to_hex(histograms[1].patches[1].get_edgecolor()) == COLOURS[1]
    _, _, line = curves.lines  # the diagonal comes before
    assert line.get_xydata().tolist() == [[0, 0], [50, 75], [100, 100]]
    assert line.get_color() == COLOURS[1]
    text = legend_texts(figure.subfigs[1])
    assert len(text) == 2 and text[1] == f'87.6  {NAMES[1]}'
    for model in results['models']:
        model['ood'] = {}
    assert ood_figure(SuiteResults(results), 'SVHN') is None


def test_spread_has_a_point_for_each_cell():
    results = fake_results(3)  # only the third model has K = 10
    figure = spread_figure(SuiteResults(results))
    (axes,) = panels(figure)
    assert axes.get_title(loc='left') == NAMES[2]
    assert len(axes.lines) == 1 + 15 * 5 + 1
    model = results['models'][2]
    cell = model['shifts']['CIFAR-10-C']['cells']['fog']['5']
    (error,) = [
        line.get_ydata()[0]
        for line in axes.lines
        if line.get_xdata()[0] == cell['spread']
    ]
    assert error == 100 - cell['top1']
    entries = {'clean', 'CIFAR-10-C', 'CIFAR-10.1', 'severity 5'}
    assert entries <= set(legend_texts(figure))
    colours = {tuple(np.atleast_1d(one.get_color())) for one in axes.lines}
    assert len(colours) == 1 + 5 + 1
    assert spread_figure(SuiteResults(fake_results(2))) is None  # K = 1


def test_spread_says_how_well_it_ranks_errors():
    results = fake_results(3)
    (axes,) = panels(spread_figure(SuiteResults(results)))
    spread, error = np.concatenate(
        [np.stack(line.get_data()) for line in axes.lines], axis=1
    )
    rho, low, high = rank_correlation(spread, error)
    text = f'ρ = {rho:.2f} [{low:.2f}, {high:.2f}]'
    assert axes.get_xlabel() == f'mean spread of logits\n{text}'
    assert 'rank correlation' in CAPTIONS['spread-and-error']
    model = results['models'][2]
    model['shifts'] = {}
    (axes,) = panels(spread_figure(SuiteResults(results)))
    assert axes.get_xlabel() == 'mean spread of logits'


def points_inside(axes):
    """Whether each point of each line lies within the limits of a panel."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = np.concatenate([line.get_xydata() for line in axes.lines]).T
    return ((left <= x) & (x <= right) & (low <= y) & (y <= high)).all()


def test_all_points_are_inside_although_later_models_err_more():
    results = fake_results(6, num_kinds=3)
    for i, model in enumerate(results['models']):
        for cells in model['shifts']['CIFAR-10-C']['cells'].values():
            for figures in cells.values():
                figures['top1'] -= 7 * i
    figure = spread_figure(SuiteResults(results))
    assert len(panels(figure)) == 3
    assert all(points_inside(axes) for axes in panels(figure))
    assert len({axes.get_ylim() for axes in panels(figure)}) == 1
    figure = severity_figure(SuiteResults(results))
    assert all(points_inside(axes) for axes in panels(figure))
    *histograms, _ = panels(ood_figure(SuiteResults(results), 'SVHN'))
    for axes in histograms:
        low, high = axes.get_ylim()
        tops = [one.get_data().values.max() for one in axes.patches]
        assert low == 0 and max(tops) < high


def test_long_names_are_wrapped_and_no_math():
    text = label('resnet18-w16_anchored $x$, K = 10', 20)
    assert max(map(len, text.split('\n'))) <= 22
    assert text.count(r'\$') == 2
    results = fake_results(8, num_kinds=1)
    texts = legend_texts(severity_figure(SuiteResults(results)))
    assert max(len(line) for one in texts for line in one.split('\n')) <= 40


@pytest.mark.parametrize(
    'build',
    [
        lambda results: ood_figure(results, 'SVHN'),
        lambda results: heat_map(results, 'CIFAR-10-C'),
        severity_figure,
        spread_figure,
        lambda results: reliability_figures(results)[-1],
    ],
)
@pytest.mark.parametrize('num_models', [3, 8])
def test_nothing_sticks_out_of_the_figure(build, num_models):
    results = fake_results(num_models, num_kinds=4, ood=('SVHN',))
    figure = build(SuiteResults(results))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.size
    for part in (*panels(figure), *figure.legends):
        box = part.get_tightbbox(renderer)
        assert box.x0 > -1 and box.x1 < width + 1
        assert box.y0 > -1 and box.y1 < height + 1
        if part in figure.axes:  # no panel is squeezed to nothing
            assert part.bbox.height > 8 and part.bbox.width > 100


@pytest.fixture
def small():
    """Results with few figures, to be drawn quickly."""
    return fake_results(3, num_kinds=2, plain=(), ood=('SVHN',))


def test_figure_files_have_the_same_bytes_in_every_run(small, tmp_path):
    paths = draw_all(SuiteResults(small), tmp_path / 'one')
    assert sorted(paths) == sorted((tmp_path / 'one').iterdir())
    assert [path.name for path in paths if path.suffix == '.png'] == [
        'accuracy-by-severity.png',
        'heat-map-cifar-10-c.png',
        'reliability.png',
        'ood-svhn.png',
        'spread-and-error.png',
    ]
    # settings of a user
    with rc_context({'font.size': 20, 'xtick.direction': 'in'}):
        again = draw_all(SuiteResults(small), tmp_path / 'two')
    for path, other in zip(paths, again):
        assert path.with_suffix('.pdf') in paths
        assert path.read_bytes() == other.read_bytes()
    assert paths[0].read_bytes()[:4] == b'\x89PNG'
    assert b'CreationDate' not in paths[1].read_bytes()


def test_sets_of_alike_names_have_files_of_their_own():
    results = fake_results(1, ('A b', 'a-b', 'a_b'), (), (), num_kinds=1)
    names = all_figures(SuiteResults(results))
    maps = [name for name in names if name.startswith('heat-map')]
    ends = ('', '-again', '-again-again')
    assert maps == [f'heat-map-a-b{end}' for end in ends]


def test_nothing_to_draw_leaves_no_folder(tmp_path):
    results = fake_results(2, (), (), ())
    for model in results['models']:
        model['reliability'] = None
    assert draw_all(SuiteResults(results), tmp_path / 'figures') == []
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_no_figure(small, tmp_path, monkeypatch):

    def broken(figure, path, **kwargs):
        path.write_text('half')
        if 'ood' in path.name:
            raise OSError('full')

    monkeypatch.setattr(Figure, 'savefig', broken)
    with pytest.raises(OSError, match='full'):
        draw_all(SuiteResults(small), tmp_path / 'figures')
    assert not list(tmp_path.iterdir())
