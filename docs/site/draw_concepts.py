"""Draw docs/concepts.png: ``python docs/site/draw_concepts.py``."""
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mmpretrain.registry import DATASETS

import mmanchor  # noqa: F401

INK, SOFT, BLUE, ORANGE = '#222222', '#6b6b6b', '#4c72b0', '#dd5f32'
TILE = 1.
WIDTH, HEIGHT = 15.4, 8.6


def digits(*places):
    """Test digits as the configs resize them, in [0, 1], and one's label."""
    dataset = DATASETS.build(
        dict(
            type='Digits',
            split='test',
            pipeline=[dict(type='Resize', scale=16,
                           interpolation='bicubic')]))  # yapf: disable
    images = [dataset[i]['img'][..., 0] / 255. for i in places]
    return images, int(dataset[places[0]]['gt_label'])


class Drawing:
    """Tiles, boxes and arrows on one pair of axes, in units of a tile."""

    def __init__(self):
        self.figure = Figure(
            figsize=(WIDTH * .75, HEIGHT * .75), dpi=110, facecolor='white')
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.axis('off')

    def tile(self, x, y, image, residual=False, size=TILE):
        colours = dict(
            cmap='RdBu_r', vmin=-1, vmax=1) if residual else dict(
                cmap='gray', vmin=0, vmax=1)
        self.axes.imshow(
            image, extent=(x, x + size, y, y + size), zorder=2, **colours)
        self.axes.add_patch(
            FancyBboxPatch((x, y),
                           size,
                           size,
                           boxstyle='square,pad=0',
                           fill=False,
                           ec=SOFT,
                           lw=.8,
                           zorder=3))

    def pair(self, x, y, reference, residual, size=TILE):
        """An anchored input, framed."""
        self.box(x - .1, y - .1, 2 * size + .3, size + .2, '', BLUE, 'none')
        self.tile(x, y, reference, size=size)
        self.tile(x + size + .1, y, residual, True, size)

    def box(self, x, y, width, height, text, edge=INK, face='#f2f2f2'):
        self.axes.add_patch(
            FancyBboxPatch((x, y),
                           width,
                           height,
                           boxstyle='round,pad=0,rounding_size=.1',
                           ec=edge,
                           fc=face,
                           lw=1.4))
        self.text(x + width / 2, y + height / 2, text, ha='center')

    def text(self, x, y, text, size=11, colour=INK, ha='left', **more):
        self.axes.text(
            x, y, text, size=size, color=colour, ha=ha, va='center', **more)

    def arrow(self, start, end):
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle='-|>', mutation_scale=13, color=INK))

    def chances(self, x, y, heights, colour):
        """What the network answers, or should: bars over the classes."""
        for i, height in enumerate(heights):
            self.axes.bar(
                x + .14 * i, height, .11, bottom=y, align='edge', color=colour)
        self.axes.plot((x - .05, x + 1.42), (y, y), color=INK, lw=.8)


def main() -> None:
    (x, r1, r2, r3), label = digits(4, 7, 12, 30)
    blank = np.full_like(x, 80 / 255)  # zero once it is normalised
    one = np.eye(10)[label] * .85
    d = Drawing()
    heads = ((.4, 'image and reference'),
             (4.2, 'what the network reads:\n2C channels'), (8.2, ''),
             (11.3, 'what it should answer'))
    for at, text in heads:
        d.text(at, 8.25, text, 10, SOFT)

    # training
    for y, masked in ((6.2, False), (3.9, True)):
        d.tile(.4, y, x)
        d.tile(1.8, y, r1)
        d.text(.9, y - .25, '$x$', ha='center')
        d.text(2.3, y - .25, '$r$', ha='center')
        d.arrow((2.95, y + .5), (4., y + .5))
        d.pair(4.3, y, blank if masked else r1, x - r1)
        d.text(4.8, y - .35, '0' if masked else '$r$', ha='center')
        d.text(5.9, y - .35, '$x - r$', ha='center')
        d.arrow((6.7, y + .5), (8.1, y + .5))
        d.box(8.2, y, 1.7, 1, 'network')
        d.arrow((10., y + .5), (11.1, y + .5))
        d.chances(11.3, y + .05, [.1] * 10 if masked else one,
                  ORANGE if masked else BLUE)
    d.text(.4, 7.5, 'Training', 13, weight='bold')
    d.text(.4, 5.2, 'A share α of the batches: the reference is masked', 11,
           ORANGE)
    d.text(13., 6.75, 'the label of $x$', 11, BLUE)
    d.text(13., 4.45, '“don’t know”:\nall classes alike', 11, ORANGE)

    # test
    d.axes.plot((.4, WIDTH - .4), (3.1, 3.1), color=SOFT, lw=.6)
    d.text(.4, 2.75, 'Test, with K = 3 frozen references', 13, weight='bold')
    small = .62
    d.tile(.4, .87, x)
    d.text(.9, .6, '$x$', ha='center')
    for i, r in enumerate((r1, r2, r3)):
        y = 1.88 - i * .86
        d.tile(1.9, y, r, size=small)
        d.text(2.7, y + .3, f'$r_{i + 1}$')
        d.arrow((3.2, y + .31), (4.1, y + .31))
        d.pair(4.4, y, r, x - r, small)
        d.arrow((6., y + .31), (8.1, 1.35 + (1 - i) * .25))
    d.box(8.2, .85, 1.7, 1, 'network')
    d.arrow((10., 1.35), (11.1, 1.35))
    d.text(11.3, 1.55, 'K answers: the mean predicts,')
    d.text(11.3, 1.15, 'the spread is an uncertainty')

    d.figure.savefig(
        Path(__file__).parents[1] / 'concepts.png', metadata={'Software': ''})


if __name__ == '__main__':
    main()
