"""All figures of the suite, on disk."""

import re
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from ...utils.files import whole_files
from .figure_style import STYLE
from .heat_map import heat_map
from .ood_figure import ood_figure
from .reading import corrupted_sets, names_of
from .reliability_figure import reliability_figures
from .severity_figure import severity_figure
from .spread_figure import spread_figure

# nothing that changes from run to run
METADATA = {
    'png': {'Software': None},
    'pdf': {'CreationDate': None},
    'svg': {'Date': None, 'Creator': None},
}


def draw_all(results: dict, folder: str | Path) -> list[Path]:
    """Draw what there is to draw, each as PNG, PDF and SVG.

    They appear together, once all are drawn.

    Args:
        results (dict): See ``results.json``.
        folder (str | Path): Where to; made if it isn't there.

    Returns:
        List[Path]: The files, none where there is nothing to draw.

    Raises:
        ValueError: The folder can't be written to.
    """
    with style.context(['default', STYLE]):
        figures = all_figures(results)
        if not figures:
            return []
        names = [f'{name}.{ending}' for name in figures for ending in METADATA]
        with whole_files(folder) as partial:
            for name, figure in figures.items():
                figure.draw_without_rendering()
                figure.set_layout_engine('none')  # once is enough
                for ending, metadata in METADATA.items():
                    figure.savefig(
                        partial / f'{name}.{ending}', metadata=metadata
                    )
    return [Path(folder) / name for name in names]


def all_figures(results: dict) -> dict[str, Figure]:
    """Build the figures, by the name of their file without its ending.

    Args:
        results (dict): See ``results.json``.
    """
    found: dict[str, Figure] = {}

    def add(name: str, figure: Figure | None) -> None:
        name = _file_name(name)
        if figure is not None:
            same = sum(
                re.fullmatch(f'{name}(-again)*', other) is not None
                for other in found
            )
            found[name + '-again' * same] = figure

    add('accuracy-by-severity', severity_figure(results))
    for name in corrupted_sets(results):
        add(f'heat-map-{name}', heat_map(results, name))
    pages = reliability_figures(results)
    for i, page in enumerate(pages, 1):
        add('reliability' + f'-{i}' * (len(pages) > 1), page)
    for name in names_of(results, 'ood'):
        add(f'ood-{name}', ood_figure(results, name))
    add('spread-and-error', spread_figure(results))
    return found


def _file_name(text: str) -> str:
    """Lower-case letters, digits and hyphens."""
    return re.sub('[^a-z0-9]+', '-', text.lower()).strip('-')
