"""Images for the report's page: which to show, small and inside the page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..images import ImageBatches, TestPipeline
from ..spec import Cell, Suite
from .html import NO_IMAGES, Block

SIZE = 96  # pixels, of the longer side
LOSSLESS = 64  # up to this size PNG is small enough
SHOWN = 12  # images of a gallery
PAIRS = 4  # images beside their references
WHAT = (
    'This page holds images of the test set, and references of anchored '
    'models, which are training images as a rule. Use --no-images for a page '
    'without.'
)


@dataclass
class Picture:
    """An image in the page.

    Args:
        source (str): A ``data:`` URI.
        alt (str): What it shows, for who does not see it.
        width (int): Pixels.
        height (int): Pixels.
        lines (List[str]): What stands under it. Defaults to none.
    """

    source: str
    alt: str
    width: int
    height: int
    lines: list[str] = field(default_factory=list)


def encode(image: np.ndarray, alt: str, lines: Sequence[str] = ()) -> Picture:
    """Put an image into text, shrunk where it is larger than a thumbnail.

    Args:
        image (np.ndarray): RGB or grey bytes.
        alt (str): What it shows.
        lines (Sequence[str]): What stands under it. Defaults to none.

    Shape:
        - image: (H, W, C)
    """
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = image.reshape(size[1], size[0], -1)
    if image.shape[2] == 3:
        image = image[..., ::-1]
    small = max(image.shape[:2]) <= LOSSLESS
    kind = 'png' if small else 'jpeg'
    _, data = cv2.imencode(f'.{kind}', np.ascontiguousarray(image))
    text = base64.b64encode(data.tobytes()).decode('ascii')
    height, width = image.shape[:2]
    return Picture(
        f'data:image/{kind};base64,{text}', alt, width, height, list(lines)
    )


class TestImages:
    """The images of a test set, as bytes to look at.

    Args:
        cell (Cell): The set.

    Raises:
        FileNotFoundError: The set is not there.
        ValueError: It is not as published, or empty.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, cell: Cell):
        pipeline = TestPipeline([dict(type='PackInputs')])
        self.batches = ImageBatches(cell, pipeline)
        classes = self.batches.dataset.metainfo.get('classes')
        self.classes = None if classes is None else list(map(str, classes))

    def __getitem__(self, row: int) -> np.ndarray:
        """An image, (H, W, C), RGB.

        Raises:
            ValueError: It can't be read.
        """
        image = self.batches.read(int(row)).numpy().transpose(1, 2, 0)
        return image.clip(0, 255).astype(np.uint8)


def class_name(classes: Sequence[str] | None, number: int) -> str:
    """A class's name, or its number where the set names none.

    Example:
        >>> class_name(['cat', 'dog'], 1), class_name(None, 1)
        ('dog', 'class 1')
    """
    if classes is None or not 0 <= number < len(classes):
        return f'class {number}'
    return classes[number]


def most_wrong(found: dict[str, np.ndarray]) -> np.ndarray:
    """Places of wrong answers, the most confident first."""
    wrong = np.flatnonzero(found['predicted'] != found['label'])
    order = np.argsort(-found['confidence'][wrong], kind='stable')
    return wrong[order][:SHOWN]


def most_uncertain(found: dict[str, np.ndarray]) -> np.ndarray:
    """Places of the least confident answers."""
    return np.argsort(found['confidence'], kind='stable')[:SHOWN]


def galleries(
    name: str, found: dict[str, np.ndarray], images: TestImages
) -> list[Block]:
    """What one model is most wrong and most uncertain about.

    Args:
        name (str): The model's.
        found (Dict[str, np.ndarray]): What it says of each image; see
            :meth:`~mmanchor.suite.passes.Passes.over`.
        images (TestImages): The clean set.

    Raises:
        ValueError: An image can't be read.
    """
    blocks = []
    wrong = most_wrong(found)
    count = int((found['predicted'] != found['label']).sum())
    if len(wrong):
        blocks.append(
            Block(
                'gallery',
                f'{name}: most wrong',
                f'{len(wrong)} of {count:,} wrong answers, the most confident '
                'first.',
                dict(pictures=[_answer(found, i, images) for i in wrong]),
            )
        )
    blocks.append(
        Block(
            'gallery',
            f'{name}: most uncertain',
            'The least confident answers, right or wrong.',
            dict(
                pictures=[
                    _answer(found, i, images) for i in most_uncertain(found)
                ]
            ),
        )
    )
    return blocks


def _answer(found, i: int, images: TestImages) -> Picture:
    label, answer = (
        class_name(images.classes, int(found[key][i]))
        for key in ('label', 'predicted')
    )
    lines = [
        f'label: {label}',
        f'answer: {answer}{"" if label == answer else " (wrong)"}',
        f'confidence: {100 * found["confidence"][i]:.1f}\u00a0%',
    ]
    if 'spread' in found and 'reference_predicted' in found:
        lines.append(f'spread: {found["spread"][i]:.3f}')
    return encode(
        images[found['row'][i]], f'{label}, answered {answer}', lines
    )


def reference_pairs(
    name: str, found: dict[str, np.ndarray], images: TestImages
) -> Block | None:
    """Images beside references, with what each reference answers alone.

    Those images on which references disagree most, by the spread of logits.

    Args:
        name (str): The model's.
        found (Dict[str, np.ndarray]): See :func:`galleries`.
        images (TestImages): The clean set.

    Returns:
        Block | None: None of models that have not several references for
        every image.
    """
    references = found.get('references')
    if references is None or not len(references) or 'spread' not in found:
        return None
    rows = []
    for i in np.argsort(-found['spread'], kind='stable')[:PAIRS]:
        row = [_answer(found, i, images)]
        for k, reference in enumerate(references):
            answer = class_name(
                images.classes, int(found['reference_predicted'][i, k])
            )
            share = 100 * found['reference_confidence'][i, k]
            row.append(
                encode(
                    reference,
                    f'reference {k + 1}',
                    [
                        f'with reference {k + 1}: {answer}',
                        f'confidence: {share:.1f}\u00a0%',
                    ],
                )
            )
        rows.append(row)
    total = found['reference_predicted'].shape[1]
    return Block(
        'pairs',
        name,
        f'The {len(rows)} images on which references disagree most, by the '
        f'spread of logits. Left: the image and the answer of all {total} '
        f'references together; right: {len(references)} of them, each with '
        'the answer and the confidence it gives alone.',
        dict(rows=rows),
    )


def corruption_grids(suite: Suite) -> list[Block]:
    """The first image of each corrupted set, by kind and severity.

    Args:
        suite (Suite): The test sets; those that are not there are left out.
    """
    blocks = []
    for one in suite.shifts:
        if not one.is_corrupted:
            continue
        rows: dict[str, list[Picture]] = {}
        try:
            for cell in one.cells():
                kind = str(cell.kind).replace('_', ' ')
                image = TestImages(cell)[0]
                rows.setdefault(kind, []).append(
                    encode(image, f'{kind}, severity {cell.severity}')
                )
        except (OSError, ValueError, RuntimeError):
            continue  # reported by name as not measured
        blocks.append(
            Block(
                'grid',
                one.name,
                'One image in each kind (rows) and severity (columns).',
                dict(
                    header=[str(severity) for severity in one.severities],
                    rows=list(rows.items()),
                ),
            )
        )
    return blocks


@dataclass
class Pictures:
    """What the page shows beside figures and tables.

    Args:
        note (str): Which images it holds, or why it holds none.
        classes (Sequence[str], optional): Names of the classes. Defaults to
            None: numbers stand for them.
        grids (List[Block]): See :func:`corruption_grids`.
        galleries (List[Block]): See :func:`galleries`.
        pairs (List[Block]): See :func:`reference_pairs`.
    """

    note: str = NO_IMAGES
    classes: Sequence[str] | None = None
    grids: list[Block] = field(default_factory=list)
    galleries: list[Block] = field(default_factory=list)
    pairs: list[Block] = field(default_factory=list)


def take_pictures(
    suite: Suite, answers: dict[str, dict[str, np.ndarray]], show: bool = True
) -> Pictures:
    """Read the images that a page shows.

    Args:
        suite (Suite): The test sets.
        answers (Dict[str, dict]): What each model says of each clean image,
            by its name.
        show (bool): Whether to show images at all. Defaults to True.

    Returns:
        Pictures: Without images, and with the reason, where those of the
        clean set can't be read any more.
    """
    try:
        images = TestImages(next(suite.clean.cells()))
    except (OSError, ValueError, RuntimeError):
        return Pictures(
            f'{NO_IMAGES[:-1]}: those of {suite.clean.name} are '
            'not there any more.'
        )
    if not show:
        return Pictures(classes=images.classes)
    found = Pictures(WHAT, images.classes)
    try:
        for name, one in answers.items():
            found.galleries += galleries(name, one, images)
            pair = reference_pairs(name, one, images)
            found.pairs += [pair] if pair is not None else []
    except (OSError, ValueError, IndexError):
        return Pictures(
            f'{NO_IMAGES[:-1]}: those of {suite.clean.name} can not be read '
            'any more.',
            images.classes,
        )
    found.grids = corruption_grids(suite)
    return found
