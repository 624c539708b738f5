"""The figure of the demo."""

import os

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dataset import default_collate
from torch import nn
from torch.utils.data import Dataset

from ..functional import anchor
from .table import name_of

COLOURS = {
    'standard': '#6b6b6b',
    'anchored': '#4c72b0',
    'anchored, masked': '#dd5f32',
}


def draw_figure(
    rows: list[dict], model: nn.Module, dataset: Dataset, path: str
) -> None:
    """Draw what the network sees, and accuracy and spread by severity.

    Args:
        rows (List[dict]): As in the demo's ``results.json``.
        model (torch.nn.Module): An anchored classifier with a bank.
        dataset (torch.utils.data.Dataset): Test images; three are shown.
        path (str): PNG file to write.
    """
    figure = Figure(figsize=(12, 4), dpi=130, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.2))
    _draw_anchoring(left, model, dataset)
    accuracy, spread = right.subplots(1, 2)
    for row in rows:
        name = name_of(row)
        if row['protocol'] != 'adaptive':
            _draw_by_severity(accuracy, row, 'top1', name)
        else:
            _draw_by_severity(spread, row, 'spread', name)
    accuracy.set_title('Accuracy, %', loc='left')
    spread.set_title('Spread of logits over references', loc='left')
    for axes in (accuracy, spread):
        axes.set_xlabel('severity of corruption (0: clean)')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', alpha=0.3)
        axes.legend(frameon=False)
    spread.set_ylim(bottom=0)
    partial = f'{path}.partial'
    figure.savefig(partial, format='png')
    os.replace(partial, path)


def _draw_by_severity(axes, row: dict, figure: str, name: str) -> None:
    by_severity = row['shifts']['Digits-C']['by_severity']
    points = (row['clean']['figures'], *by_severity.values())
    axes.plot(
        [point[figure] for point in points],
        marker='o',
        color=COLOURS[name],
        label=name,
    )


def _draw_anchoring(figure, model: nn.Module, dataset: Dataset) -> None:
    batch = default_collate([dataset[i] for i in range(3)])
    with torch.no_grad():
        images = model.data_preprocessor(batch)['inputs'].cpu()
        references = model.data_preprocessor(
            dict(inputs=model.reference_bank.images[: len(images)])
        )['inputs'].cpu()
    residuals = anchor(images, references).chunk(2, dim=1)[1]
    figure.suptitle('What the network sees', fontsize='large')
    for axes, *row in zip(
        figure.subplots(len(images), 3), images, references, residuals
    ):
        for ax, image, colours in zip(axes, row, ('gray', 'gray', 'RdBu_r')):
            limit = float(
                residuals.abs().max()
                if colours == 'RdBu_r'
                else images.abs().max()
            )
            ax.imshow(image[0], cmap=colours, vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
    for ax, name in zip(figure.axes, ('image x', 'reference r', 'x − r')):
        ax.set_title(name, fontsize='medium')
