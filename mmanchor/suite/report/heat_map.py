"""Accuracy by kind and severity of corruption."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from .figure_style import label, new_figure
from .reading import figure_of, kinds_of, severities_of, shift
from .table import number, signed

PER_ROW = 4
CELL = (0.29, 0.155)  # inches


def heat_map(results: dict, name: str) -> Figure | None:
    """Draw the first model's accuracy and the others' difference from it.

    The last column and the last row are means. Where the first model was not
    measured on the set, the first that was takes its place.

    Args:
        results (dict): See ``results.json``.
        name (str): Of the corrupted set.

    Returns:
        matplotlib.figure.Figure | None: None where no model has the accuracy
        by kind.
    """
    models = [
        model for model in results['models'] if shift(model, name).get('cells')
    ]
    kinds, severities = kinds_of(results, name), severities_of(results, name)
    if not models or not kinds:
        return None
    tables = [
        _values(shift(model, name), kinds, severities) for model in models
    ]
    columns = min(len(models), PER_ROW)
    rows = -(-len(models) // columns)
    figure = new_figure(
        columns * (CELL[0] * (len(severities) + 1) + 0.12) + 1.3,
        rows * (CELL[1] * (len(kinds) + 1) + 0.5)
        + (0.75 if rows == 1 else 1.3),
    )
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True
    ).flat
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    for axes in panels[: len(models)]:
        axes.set_xticks(range(len(severities) + 1), [*severities, 'mean'])
        axes.tick_params(labelbottom=True, length=0)
    for axes in panels[0::columns]:
        axes.set_yticks(
            range(len(kinds) + 1),
            [*(kind.replace('_', ' ') for kind in kinds), 'mean'],
        )
    names = [label(model['name'], 30) for model in models]
    _draw_accuracy(
        figure,
        panels[0],
        tables[0],
        names[0],
        panels[:1] if rows == 1 else panels,
    )
    if len(models) > 1:
        _draw_differences(
            figure,
            panels[1:],
            tables,
            names,
            panels[1:] if rows == 1 else panels,
        )
    return figure


def _draw_accuracy(figure, axes, values: np.ndarray, name: str, above) -> None:
    image = _draw(axes, values, number, cmap='cividis')
    axes.set_title(f'{name}\naccuracy', fontsize=7)
    _colour_bar(figure, image, above, 'top-1 accuracy (%)')


def _draw_differences(
    figure, panels, tables: list[np.ndarray], names: list[str], above
) -> None:
    """All with the same colours, white where there is none."""
    differences = [table - tables[0] for table in tables[1:]]
    limit = max(1.0, *(np.abs(np.nan_to_num(d)).max() for d in differences))
    for axes, name, values in zip(panels, names[1:], differences):
        image = _draw(
            axes, values, signed, cmap='RdBu', vmin=-limit, vmax=limit
        )
        axes.set_title(f'{name}\ndifference', fontsize=7)
    _colour_bar(figure, image, above, f'difference from {names[0]} (points)')


def _values(
    found: dict, kinds: list[str], severities: list[str]
) -> np.ndarray:
    """Accuracy of shape (kinds + 1, severities + 1), NaN where missing."""
    cells, by_kind = found.get('cells') or {}, found.get('by_kind') or {}
    by_severity = found.get('by_severity') or {}
    rows = [
        [
            *((cells.get(kind) or {}).get(s) for s in severities),
            by_kind.get(kind),
        ]
        for kind in kinds
    ]
    rows.append([*map(by_severity.get, severities), found.get('mean')])
    return np.array(
        [[figure_of(point, 'top1') for point in row] for row in rows], float
    )


def _colour_bar(figure, image, panels, text: str) -> None:
    bar = figure.colorbar(
        image,
        ax=list(panels),
        location='bottom',
        aspect=14 * min(len(panels), PER_ROW),
        pad=0.02,
    )
    bar.set_label(text, fontsize=7)
    bar.outline.set_visible(False)


def _draw(axes, values: np.ndarray, form: Callable, **style):
    """Colours with their numbers, grey where there is none."""
    image = axes.imshow(np.ma.masked_invalid(values), aspect='auto', **style)
    axes.set_facecolor('0.9')
    for (y, x), value in np.ndenumerate(values):
        missing = np.isnan(value)
        red, green, blue, _ = image.to_rgba(0.0 if missing else value)
        light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
        axes.text(
            x,
            y,
            '–' if missing else form(value).replace('-', '−'),
            ha='center',
            va='center',
            fontsize=5.5,
            color='black' if light or missing else 'white',
        )
    axes.axhline(len(values) - 1.5, color='white', linewidth=2)
    axes.axvline(values.shape[1] - 1.5, color='white', linewidth=2)
    axes.spines[:].set_visible(False)
    return image
