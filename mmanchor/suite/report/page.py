"""The HTML page of a suite: a summary first, then all details."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...evaluation.confidence_intervals import wilson_interval
from ..comparisons import ImageAnswers
from ..results import SuiteResults
from .conventions import conventions
from .decision_tables import decision_tables, promises, scaling_table
from .html import Block, Page, Section, facts_block, figure_block, table_blocks
from .pictures import Pictures, class_name
from .summary import summary
from .table import Table, with_interval
from .tables import (
    accuracy_table,
    calibration_tables,
    checkpoint_table,
    kind_tables,
    ood_tables,
    reference_tables,
    severity_tables,
)

# by the beginning of a figure's file name
CAPTIONS = {
    'accuracy-by-severity': 'Accuracy by severity of corruption',
    'heat-map': 'Accuracy by kind and severity of the first model, and of '
    'the others the difference from it',
    'reliability': 'Accuracy against confidence, with the share of images by '
    'confidence underneath; of corrupted sets, all images together',
    'ood': 'Anomaly scores of images in and out of distribution, and how '
    'well they tell them apart',
    'spread-and-error': 'Error against the spread of logits over references; '
    "a point is a set, or a kind and severity of one. ρ is Spearman's rank "
    'correlation between spread and error over the points (95 % interval, '
    'treating points as independent). Near 1, a large spread warns of errors; '
    'near 0, it does not',
}
# with more classes, the page lists confusions instead of showing the matrix
MAX_CLASSES_IN_MATRIX = 20
MAX_LISTED = 30  # classes or confusions in a list
Answers = dict[str, dict[str, np.ndarray]]


def suite_page(
    results: SuiteResults,
    figures: Sequence[str | Path],
    pictures: Pictures | None = None,
    answers: Answers | None = None,
    compared: Mapping[str, ImageAnswers] | None = None,
) -> Page:
    """Put the results of a suite on one page.

    Args:
        results (SuiteResults): The results. Sections that they have no data
            for are left out.
        figures (Sequence[str | Path]): Files; those in SVG are shown.
        pictures (Pictures, optional): Images of the data. Defaults to None.
        answers (Dict[str, dict], optional): The predictions of each model for
            the clean images, by its name. Defaults to None: the page has no
            results by class.
        compared (Mapping[str, ImageAnswers], optional): What each model
            answered to each image. Defaults to None: differences in the
            summary have no intervals.
    """
    content, pictures = results.content, pictures or Pictures()
    drawn = [Path(one) for one in figures if Path(one).suffix == '.svg']

    def draw(start: str) -> list[Block]:
        return [
            figure_block(path, f'{CAPTIONS[start]}.')
            for path in drawn
            if path.name.startswith(start)
        ]

    def tables(*shown: Table) -> list[Block]:
        return table_blocks([one for one in shown if not one.is_empty()])

    sections = {
        'Accuracy': tables(accuracy_table(results, True))
        + draw('accuracy-by-severity')
        + tables(*severity_tables(results, True)),
        'Kinds of corruption': draw('heat-map')
        + tables(*kind_tables(results, True))
        + pictures.grids,
        'Classes': class_blocks(answers or {}, pictures.classes),
        'Calibration': tables(
            *calibration_tables(results, True),
            scaling_table(results, 'temperature'),
        )
        + draw('reliability'),
        'Prediction sets and abstaining': _list_blocks(promises(results))
        + tables(*decision_tables(results, True)),
        'Anomaly rejection': tables(*ood_tables(results, True)) + draw('ood'),
        'References': tables(*reference_tables(results, True))
        + draw('spread-and-error')
        + pictures.pairs,
        'Images to look at': pictures.galleries,
        'Not measured': _list_blocks(
            [': '.join(one) for one in failures(content)]
        ),
        'How it was made': _run_blocks(results),
    }
    return Page(
        f'Safety suite: {content["suite"]["title"]}',
        summary(results, compared),
        [Section(*one) for one in sections.items()],
        pictures.note,
    )


def class_blocks(
    answers: Answers, classes: Sequence[str] | None
) -> list[Block]:
    """Show the accuracy of each class, and the confusions of classes.

    Args:
        answers (Dict[str, dict]): The predictions of each model for the clean
            images; see :class:`~mmanchor.suite.measure.Measured`.
        classes (Sequence[str], optional): Names of the classes.
    """
    if not answers:
        return []
    labels = [predictions['label'] for predictions in answers.values()]
    present = np.unique(np.concatenate(labels)).tolist()
    blocks = table_blocks([_class_table(answers, classes, present)])
    for name, predictions in answers.items():
        counts = confusion(predictions)
        # labels and answers: few labels can have very many different answers
        used = {one for pair in counts for one in pair}
        if len(used) <= MAX_CLASSES_IN_MATRIX:
            blocks.append(_matrix(name, counts, classes))
        else:
            blocks += table_blocks([_confusions(name, counts, classes)])
    return blocks


def confusion(
    predictions: dict[str, np.ndarray],
) -> dict[tuple[int, int], int]:
    """Count the images of each pair of label and predicted class.

    Example:
        >>> confusion(dict(label=np.array([0, 0]), predicted=np.array([1, 1])))
        {(0, 1): 2}
    """
    pairs, counts = np.unique(
        np.stack([predictions['label'], predictions['predicted']]),
        axis=1,
        return_counts=True,
    )
    return {
        (int(label), int(answer)): int(count)
        for label, answer, count in zip(*pairs, counts)
    }


def _class_table(answers, classes, present) -> Table:
    rows, means = [], []
    for one in present:
        cells, shares = [], []
        for predictions in answers.values():
            mine = predictions['label'] == one
            count = int(mine.sum())
            if not count:
                cells.append('–')
                continue
            share = float((predictions['predicted'][mine] == one).mean())
            ends = wilson_interval(share, count)
            shares.append(share)
            cells.append(
                with_interval(100 * share, (100 * ends[0], 100 * ends[1]))
            )
        rows.append([class_name(classes, one), f'{count:,}', *cells])
        means.append(sum(shares) / max(len(shares), 1))
    caption = 'Clean images, with 95 % intervals (Wilson).'
    if len(rows) > MAX_LISTED:
        worst = np.argsort(means, kind='stable')[:MAX_LISTED]
        caption += (
            f' Of {len(rows):,} classes, the {MAX_LISTED} with the lowest '
            'accuracy.'
        )
        rows = [rows[i] for i in worst]
    header = ['class', 'images', *answers]
    return Table('Accuracy by class, %', caption, header, rows)


def _matrix(name: str, counts: dict, classes) -> Block:
    used = sorted({one for pair in counts for one in pair})
    rows = [[counts.get((i, j), 0) for j in used] for i in used]
    shares = [
        [0.12 + 0.6 * count / max(sum(row), 1) for count in row]
        for row in rows
    ]
    return Block(
        'matrix',
        f'Confusion matrix: {name}',
        'Numbers of clean images; a row a label, a column an answer. Blue: '
        'right; orange: wrong.',
        names=[class_name(classes, one) for one in used],
        rows=rows,
        shares=shares,
    )


def _confusions(name: str, counts: dict, classes) -> Table:
    wrong = sorted(
        (
            (count, pair)
            for pair, count in counts.items()
            if len(set(pair)) > 1
        ),
        key=lambda one: (-one[0], one[1]),
    )
    rows = [
        [class_name(classes, i), class_name(classes, j), f'{count:,}']
        for count, (i, j) in wrong[:MAX_LISTED]
    ]
    return Table(
        f'Most frequent confusions: {name}',
        f'{len(rows)} of {len(wrong):,} pairs of classes that were taken for '
        'each other; there are too many classes for a whole matrix.',
        ['label', 'answer', 'images'],
        rows,
        2,
    )


def failures(content: dict) -> list[tuple[str, str]]:
    """What could not be measured, with the reason."""
    missing, failed = (content.get(key) or () for key in ('missing', 'failed'))
    return [
        *((one['name'], one['reason']) for one in missing),
        *(
            (f'{one["name"]} by {one["model"] or "all"}', one['reason'])
            for one in failed
        ),
    ]


def run_facts(content: dict) -> list[tuple[str, object]]:
    """The settings of the run, as far as they are known."""
    settings = content.get('settings') or {}
    facts = [
        ('command', content.get('command')),
        ('device', settings.get('device')),
        ('batch size', settings.get('batch_size')),
        ('mixed precision', 'yes' if settings.get('amp') else None),
        ('commit of mmanchor', content.get('commit')),
    ]
    return [(name, value) for name, value in facts if value]


def _list_blocks(texts: list[str]) -> list[Block]:
    return [Block('list', texts=texts)] if texts else []


def _run_blocks(results: SuiteResults) -> list[Block]:
    content = results.content
    seeds = [
        (f'seed of {name.replace("_", " ")}', value)
        for name, value in (content.get('seeds') or {}).items()
    ]
    versions = list((content.get('versions') or {}).items())
    blocks = [
        facts_block('', run_facts(content) + seeds),
        *table_blocks([checkpoint_table(results)]),
        facts_block('Versions', versions),
        Block('list', 'Conventions', texts=conventions(results)),
    ]
    return [one for one in blocks if one.kind != 'facts' or one.facts]
