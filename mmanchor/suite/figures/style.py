"""The look of all figures: colours, markers, sizes and file formats."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..report.table import wrap

# Okabe and Ito's palette, which colour-blind readers can distinguish
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
WIDTH = 7.0  # inches, the width of the text on a page
PANELS_IN_A_ROW = 3

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
    'svg.hashsalt': 'mmanchor',  # else every run has other element names
    'pdf.fonttype': 42,  # TrueType, whose text can be searched and edited
}
# by file format; without dates and versions, files are the same in every run
METADATA = {
    'png': {'Software': None},
    'pdf': {'CreationDate': None},
    'svg': {'Date': None, 'Creator': None},
}


def save_figure_files(figure: Figure, folder: Path, name: str) -> None:
    """Save a figure in all formats of ``METADATA``; its layout is final."""
    # compute the layout once for all formats
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    for ending, metadata in METADATA.items():
        figure.savefig(folder / f'{name}.{ending}', metadata=metadata)


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure, in inches, whose layout avoids overlaps."""
    figure = Figure(figsize=(width, height), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def model_style(index: int) -> dict:
    """Colour, marker and dashes of a model, the same in all figures."""
    return dict(
        color=colour_of(index),
        marker=MARKERS[index % len(MARKERS)],
        linestyle='-' if index < len(COLOURS) else '--',
    )


def colour_of(index: int) -> str:
    """Colour of a model; after seven models the colours repeat."""
    return COLOURS[index % len(COLOURS)]


def label(name: str, width: int = 40) -> str:
    """Wrap a name, and escape ``$``, which Matplotlib reads as math."""
    return wrap(name, width).replace('$', r'\$')


def start_at_zero(panels: Sequence, values: Sequence[float]) -> None:
    """Let y axes go from zero to a little above all values.

    Call it after everything is drawn: a limit that is set before freezes the
    axes, also those of panels that share it, at what they hold so far.

    Args:
        panels (Sequence[matplotlib.axes.Axes]): The panels.
        values (Sequence[float]): All values that the panels show, ≥ 0.
    """
    top = 1.06 * max(values, default=0)
    for axes in panels:
        axes.set_ylim(0, top or 1)


def legend_below(figure: Figure, handles: Sequence, width: float) -> None:
    """Add a legend below all panels, in as many columns as fit."""
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


def model_handles(models: Sequence[str], shown: Sequence[int]) -> list[Line2D]:
    """Legend entries of some of the models, given their positions."""
    return [
        Line2D([], [], label=label(models[i]), **model_style(i)) for i in shown
    ]
