"""What all figures of the suite have in common."""

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .table import wrap

# of Okabe and Ito's palette, told apart by the colour-blind
COLOURS = (
    '#000000',
    '#0072b2',
    '#d55e00',
    '#009e73',
    '#e69f00',
    '#56b4e9',
    '#cc79a7',
)
MARKERS = 'os^Dv<>p'
INSIDE = '0.72'  # images in distribution
WIDTH = 7.0  # inches: a page's text

STYLE = {
    'font.size': 8,
    'axes.titlesize': 8,
    'axes.labelsize': 8,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'legend.fontsize': 7.5,
    'axes.linewidth': 0.7,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlelocation': 'left',
    'lines.linewidth': 1.3,
    'lines.markersize': 3.5,
    'legend.frameon': False,
    'hatch.linewidth': 0.5,
    'savefig.dpi': 'figure',
    'svg.hashsalt': 'mmanchor',  # the same names in every run
    'pdf.fonttype': 42,  # letters that can be searched and edited
}


def new_figure(width: float, height: float) -> Figure:
    """A figure, in inches, that makes room for what is drawn."""
    figure = Figure(figsize=(width, height), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def model_style(index: int) -> dict:
    """How the lines of a model look, the same in all figures."""
    return dict(
        color=colour_of(index),
        marker=MARKERS[index % len(MARKERS)],
        linestyle='-' if index < len(COLOURS) else '--',
    )


def colour_of(index: int) -> str:
    """A model's colour; after seven models they start anew."""
    return COLOURS[index % len(COLOURS)]


def label(name: str, width: int = 40) -> str:
    """A name in lines that are not too long, with nothing read as math."""
    return wrap(name, width).replace('$', r'\$')


def legend_below(figure: Figure, handles: Sequence, width: float) -> None:
    """A legend under all panels, in as many columns as there is room for."""
    longest = max(
        len(line)
        for handle in handles
        for line in handle.get_label().split('\n')
    )
    columns = int(width / (0.062 * longest + 0.5))
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=max(1, min(columns, len(handles))),
    )


def model_handles(models: list[dict], shown: Sequence[int]) -> list[Line2D]:
    """Entries of a legend."""
    return [
        Line2D([], [], label=label(models[i]['name']), **model_style(i))
        for i in shown
    ]
