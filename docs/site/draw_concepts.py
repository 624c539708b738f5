"""Draw docs/concepts.png: ``python docs/site/draw_concepts.py``."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mmpretrain.registry import DATASETS

import mmanchor  # noqa: F401

INK, SOFT, BLUE, ORANGE = '#222222', '#6b6b6b', '#4c72b0', '#dd5f32'
TILE = 1.0
WIDTH, HEIGHT = 15.4, 8.6


def digits(*places):
    """Test digits as the configs resize them, in [0, 1], and one's label."""
    dataset = DATASETS.build(
        dict(
            type='Digits',
            split='test',
            pipeline=[dict(type='Resize', scale=16,
                           interpolation='bicubic')]))  # yapf: disable
    images = [dataset[i]['img'][..., 0] / 255.0 for i in places]
    return images, int(dataset[places[0]]['gt_label'])


class Drawing:
    """Tiles, boxes and arrows on one pair of axes, in units of a tile."""

    def __init__(self):
        self.figure = Figure(
            figsize=(WIDTH * 0.75, HEIGHT * 0.75), dpi=110, facecolor='white'
        )
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.axis('off')

    def tile(self, x, y, image, residual=False, size=TILE):
        colours = (
            dict(cmap='RdBu_r', vmin=-1, vmax=1)
            if residual
            else dict(cmap='gray', vmin=0, vmax=1)
        )
        self.axes.imshow(
            image, extent=(x, x + size, y, y + size), zorder=2, **colours
        )
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                size,
                size,
                boxstyle='square,pad=0',
                fill=False,
                ec=SOFT,
                lw=0.8,
                zorder=3,
            )
        )

    def pair(self, x, y, reference, residual, size=TILE):
        """An anchored input, framed."""
        self.box(
            x - 0.1, y - 0.1, 2 * size + 0.3, size + 0.2, '', BLUE, 'none'
        )
        self.tile(x, y, reference, size=size)
        self.tile(x + size + 0.1, y, residual, True, size)

    def box(self, x, y, width, height, text, edge=INK, face='#f2f2f2'):
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle='round,pad=0,rounding_size=.1',
                ec=edge,
                fc=face,
                lw=1.4,
            )
        )
        self.text(x + width / 2, y + height / 2, text, ha='center')

    def text(self, x, y, text, size=11, colour=INK, ha='left', **more):
        self.axes.text(
            x, y, text, size=size, color=colour, ha=ha, va='center', **more
        )

    def arrow(self, start, end):
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle='-|>', mutation_scale=13, color=INK
            )
        )

    def chances(self, x, y, heights, colour):
        """What the network answers, or should: bars over the classes."""
        for i, height in enumerate(heights):
            self.axes.bar(
                x + 0.14 * i,
                height,
                0.11,
                bottom=y,
                align='edge',
                color=colour,
            )
        self.axes.plot((x - 0.05, x + 1.42), (y, y), color=INK, lw=0.8)


def main() -> None:
    (x, r1, r2, r3), label = digits(4, 7, 12, 30)
    blank = np.full_like(x, 80 / 255)  # zero once it is normalised
    one = np.eye(10)[label] * 0.85
    d = Drawing()
    heads = (
        (0.4, 'image and reference'),
        (4.2, 'what the network reads:\n2C channels'),
        (8.2, ''),
        (11.3, 'what it should answer'),
    )
    for at, text in heads:
        d.text(at, 8.25, text, 10, SOFT)

    # training
    for y, masked in ((6.2, False), (3.9, True)):
        d.tile(0.4, y, x)
        d.tile(1.8, y, r1)
        d.text(0.9, y - 0.25, '$x$', ha='center')
        d.text(2.3, y - 0.25, '$r$', ha='center')
        d.arrow((2.95, y + 0.5), (4.0, y + 0.5))
        d.pair(4.3, y, blank if masked else r1, x - r1)
        d.text(4.8, y - 0.35, '0' if masked else '$r$', ha='center')
        d.text(5.9, y - 0.35, '$x - r$', ha='center')
        d.arrow((6.7, y + 0.5), (8.1, y + 0.5))
        d.box(8.2, y, 1.7, 1, 'network')
        d.arrow((10.0, y + 0.5), (11.1, y + 0.5))
        d.chances(
            11.3,
            y + 0.05,
            [0.1] * 10 if masked else one,
            ORANGE if masked else BLUE,
        )
    d.text(0.4, 7.5, 'Training', 13, weight='bold')
    d.text(
        0.4,
        5.2,
        'A share α of the batches: the reference is masked',
        11,
        ORANGE,
    )
    d.text(13.0, 6.75, 'the label of $x$', 11, BLUE)
    d.text(13.0, 4.45, '“don’t know”:\nall classes alike', 11, ORANGE)

    # test
    d.axes.plot((0.4, WIDTH - 0.4), (3.1, 3.1), color=SOFT, lw=0.6)
    d.text(0.4, 2.75, 'Test, with K = 3 frozen references', 13, weight='bold')
    small = 0.62
    d.tile(0.4, 0.87, x)
    d.text(0.9, 0.6, '$x$', ha='center')
    for i, r in enumerate((r1, r2, r3)):
        y = 1.88 - i * 0.86
        d.tile(1.9, y, r, size=small)
        d.text(2.7, y + 0.3, f'$r_{i + 1}$')
        d.arrow((3.2, y + 0.31), (4.1, y + 0.31))
        d.pair(4.4, y, r, x - r, small)
        d.arrow((6.0, y + 0.31), (8.1, 1.35 + (1 - i) * 0.25))
    d.box(8.2, 0.85, 1.7, 1, 'network')
    d.arrow((10.0, 1.35), (11.1, 1.35))
    d.text(11.3, 1.55, 'K answers: the mean predicts,')
    d.text(11.3, 1.15, 'the spread is an uncertainty')

    d.figure.savefig(
        Path(__file__).parents[1] / 'concepts.png', metadata={'Software': ''}
    )


if __name__ == '__main__':
    main()
