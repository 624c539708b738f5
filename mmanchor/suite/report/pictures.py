"""Thumbnails of test images and references for the HTML page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..images import ImageBatches, TestPipeline
from ..spec import Cell, Suite
from .html import NO_IMAGES, Block

SIZE = 96  # pixels of the longer side
LOSSLESS = 64  # larger thumbnails are JPEG, because PNG would take more space
IMAGES_IN_A_GALLERY = 12
IMAGES_WITH_REFERENCES = 4
IMAGES_NOTE = (
    'This page holds images of the test set, and references of anchored '
    'models, which are training images as a rule. Use --no-images for a page '
    'without.'
)


@dataclass
class Picture:
    """An image in the page, as a ``data:`` URI, with lines under it.

    The width and the height are in pixels. Screen readers read ``alt``.
    """

    source: str
    alt: str
    width: int
    height: int
    lines: Sequence[str] = ()


def encode(image: np.ndarray, alt: str, lines: Sequence[str] = ()) -> Picture:
    """Encode an image as text, reduced to a thumbnail if it is larger.

    Shape:
        - image: (H, W, C), RGB or grey bytes
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
    uri = f'data:image/{kind};base64,{text}'
    return Picture(uri, alt, width, height, lines)


class TestImages:
    """The images of a test set, as RGB bytes to look at.

    Raises:
        FileNotFoundError: The set is missing.
        ValueError: The set is damaged or empty.
    """

    __test__ = False  # pytest would take the class for a test

    def __init__(self, cell: Cell):
        pipeline = TestPipeline([dict(type='PackInputs')])
        self.batches = ImageBatches(cell, pipeline)
        classes = self.batches.dataset.metainfo.get('classes')
        self.classes = None if classes is None else list(map(str, classes))

    def __getitem__(self, row: int) -> np.ndarray:
        """Read an image, (H, W, C), RGB."""
        image = self.batches.read(int(row)).numpy().transpose(1, 2, 0)
        return image.clip(0, 255).astype(np.uint8)


def class_name(classes: Sequence[str] | None, number: int) -> str:
    """The name of a class, or its number if the set names no classes.

    Example:
        >>> class_name(['cat', 'dog'], 1), class_name(None, 1)
        ('dog', 'class 1')
    """
    if classes is None or not 0 <= number < len(classes):
        return f'class {number}'
    return classes[number]


def most_wrong(images: dict[str, np.ndarray]) -> np.ndarray:
    """Positions of the wrong predictions, the most confident ones first."""
    wrong = np.flatnonzero(images['predicted'] != images['label'])
    return wrong[np.argsort(-images['confidence'][wrong], kind='stable')]


def most_uncertain(images: dict[str, np.ndarray]) -> np.ndarray:
    """Positions of the predictions, the least confident ones first."""
    return np.argsort(images['confidence'], kind='stable')


def galleries(
    name: str, predictions: dict[str, np.ndarray], images: TestImages
) -> list[Block]:
    """Show the images that a model is most wrong and most uncertain about.

    Args:
        predictions (Dict[str, np.ndarray]): Its predictions for the images;
            see :meth:`~mmanchor.suite.runner.ModelEvaluator.evaluate`.

    Raises:
        ValueError: An image can't be read.
    """

    def gallery(title: str, caption: str, positions: np.ndarray) -> Block:
        shown = [_answer(predictions, i, images) for i in positions]
        return Block('gallery', f'{name}: {title}', caption, pictures=shown)

    blocks = []
    wrong = most_wrong(predictions)
    shown = wrong[:IMAGES_IN_A_GALLERY]
    if len(shown):
        caption = f'{len(shown)} of {len(wrong):,} wrong answers, the most '
        caption += 'confident first.'
        blocks.append(gallery('most wrong', caption, shown))
    caption = 'The least confident answers, right or wrong.'
    shown = most_uncertain(predictions)[:IMAGES_IN_A_GALLERY]
    return [*blocks, gallery('most uncertain', caption, shown)]


def _answer(predictions, i: int, images: TestImages) -> Picture:
    label, answer = (
        class_name(images.classes, int(predictions[key][i]))
        for key in ('label', 'predicted')
    )
    lines = [
        f'label: {label}',
        f'answer: {answer}{"" if label == answer else " (wrong)"}',
        f'confidence: {100 * predictions["confidence"][i]:.1f}\u00a0%',
    ]
    if 'spread' in predictions and 'reference_predicted' in predictions:
        lines.append(f'spread: {predictions["spread"][i]:.3f}')
    return encode(
        images[predictions['row'][i]], f'{label}, answered {answer}', lines
    )


def most_disputed(alone: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Positions of all images, those first on which references disagree.

    Shape:
        - alone, confidences: (N, K), of the answer with each reference
        - output: (N,)
    """
    same = [(alone == alone[:, [k]]).sum(1) for k in range(alone.shape[1])]
    others = alone.shape[1] - np.max(same, 0)
    return np.lexsort((-np.ptp(confidences, 1), -others))


def reference_pairs(
    name: str, predictions: dict[str, np.ndarray], images: TestImages
) -> Block | None:
    """Show images beside references, with the prediction of each reference.

    The images are those on which references disagree most: first those with
    different answers, then those with different confidences. It is None for
    models without several references for every image.
    """
    references = predictions.get('references')
    if references is None or not len(references):
        return None
    alone = predictions['reference_predicted']
    confidences = predictions['reference_confidence']
    order = most_disputed(alone, confidences)
    rows = []
    for i in order[:IMAGES_WITH_REFERENCES]:
        row = [_answer(predictions, i, images)]
        for k, reference in enumerate(references):
            answer = class_name(images.classes, int(alone[i, k]))
            lines = [
                f'with reference {k + 1}: {answer}',
                f'confidence: {100 * confidences[i, k]:.1f}\u00a0%',
            ]
            row.append(encode(reference, f'reference {k + 1}', lines))
        rows.append(row)
    total = alone.shape[1]
    return Block(
        'pairs',
        name,
        f'The {len(rows)} images on which references disagree most: by how '
        'many answer differently from most others, then by how far their '
        'confidences are apart. Left: the image and the answer of all '
        f'{total} references together; right: {len(references)} of them, each '
        'with the answer and the confidence it gives alone.',
        rows=rows,
    )


def corruption_grids(suite: Suite) -> tuple[list[Block], list[str]]:
    """Show the first image of each kind and severity of corrupted sets.

    Also returns the names of the sets whose images can't be read.
    """
    blocks, gone = [], []
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
            gone.append(one.name)
            continue
        blocks.append(
            Block(
                'grid',
                one.name,
                'One image in each kind (rows) and severity (columns).',
                header=[str(severity) for severity in one.severities],
                rows=list(rows.items()),
            )
        )
    return blocks, gone


@dataclass
class Pictures:
    """The images of a page.

    ``note`` says which images the page shows, or why it shows none.
    ``classes`` are the names of the classes; if it is None, the page shows
    their numbers.
    """

    note: str = NO_IMAGES
    classes: Sequence[str] | None = None
    grids: list[Block] = field(default_factory=list)
    galleries: list[Block] = field(default_factory=list)
    pairs: list[Block] = field(default_factory=list)


def take_pictures(
    suite: Suite,
    answers: dict[str, dict[str, np.ndarray]],
    show: bool = True,
    classes: Sequence[str] | None = None,
) -> Pictures:
    """Read the images that a page shows.

    If those of the clean set can't be read any more, there are none, and the
    note gives the reason.

    Args:
        suite (Suite): The test sets.
        answers (Dict[str, dict]): The predictions of each model for the clean
            images, by its name.
        show (bool): Whether to show images. Defaults to True.
        classes (Sequence[str], optional): The names of the classes, for when
            the clean set is gone. Defaults to None: unknown.
    """
    try:
        images = TestImages(next(suite.clean.cells()))
    except (OSError, ValueError, RuntimeError):
        return Pictures(
            f'{NO_IMAGES[:-1]}: those of {suite.clean.name} are '
            'not there any more.',
            classes,
        )
    if not show:
        return Pictures(classes=images.classes)
    pictures = Pictures(IMAGES_NOTE, images.classes)
    try:
        for name, one in answers.items():
            pictures.galleries += galleries(name, one, images)
            pair = reference_pairs(name, one, images)
            pictures.pairs += [pair] if pair is not None else []
    except (OSError, ValueError, IndexError):
        return Pictures(
            f'{NO_IMAGES[:-1]}: those of {suite.clean.name} can not be read '
            'any more.',
            images.classes,
        )
    pictures.grids, gone = corruption_grids(suite)
    if gone:
        pictures.note += (
            f' It holds none of {", ".join(gone)}, whose images are not there '
            'or can not be read.'
        )
    return pictures
