"""The page of a safety suite: what a reader looks at first, then the rest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...evaluation.confidence_intervals import wilson_interval
from .accuracy_tables import (
    accuracy_table,
    kind_tables,
    reference_tables,
    severity_tables,
)
from .calibration_tables import calibration_tables, temperature_table
from .decision_tables import decision_tables, promises
from .html import Block, Page, Section, facts_block, figure_block, table_blocks
from .markdown import CAPTIONS
from .ood_tables import ood_tables
from .pictures import Pictures, class_name
from .reading import (
    clean,
    corrupted_sets,
    default_score,
    figure_of,
    interval_of,
    names_of,
    scores,
    shift,
)
from .table import Table, number, with_interval

IN_MATRIX = 20  # classes, beyond which confusions are listed instead
LISTED = 30  # classes or confusions in a list
Answers = dict[str, dict[str, np.ndarray]]


def suite_page(
    results: dict,
    figures: Sequence[str | Path],
    pictures: Pictures | None = None,
    answers: Answers | None = None,
) -> Page:
    """Put the results of a suite on one page.

    Args:
        results (dict): See ``results.json``; what an older version lacks is
            left out.
        figures (Sequence[str | Path]): Files; those in SVG are shown.
        pictures (Pictures, optional): Images of the data. Defaults to None.
        answers (Dict[str, dict], optional): What each model says of each
            clean image, by its name. Defaults to None: the page has nothing
            on single classes.
    """
    pictures, answers = pictures or Pictures(), answers or {}
    drawn = [Path(one) for one in figures if Path(one).suffix == '.svg']

    def draw(*starts: str) -> list[Block]:
        return [
            figure_block(path, f'{CAPTIONS[start]}.')
            for start in starts
            for path in drawn
            if path.name.startswith(start)
        ]

    def tables(*found: Table) -> list[Block]:
        return table_blocks([one for one in found if not one.is_empty()])

    calibration = calibration_tables(results, True)
    return Page(
        f'Safety suite: {results["suite"]["title"]}',
        summary(results),
        [
            Section(
                'Accuracy',
                tables(accuracy_table(results, True))
                + draw('accuracy-by-severity')
                + tables(*severity_tables(results, True)),
            ),
            Section(
                'Kinds of corruption',
                draw('heat-map')
                + tables(*kind_tables(results, True))
                + pictures.grids,
            ),
            Section('Classes', class_blocks(answers, pictures.classes)),
            Section(
                'Calibration',
                tables(*calibration, temperature_table(results))
                + draw('reliability'),
            ),
            Section('Prediction sets and abstaining', decisions(results)),
            Section(
                'Anomaly rejection',
                tables(*ood_tables(results, True)) + draw('ood'),
            ),
            Section(
                'References',
                tables(*reference_tables(results, True))
                + draw('spread-and-error')
                + pictures.pairs,
            ),
            Section('Images to look at', pictures.galleries),
            Section('Not measured', _not_measured(results)),
            Section('How it was made', _made_with(results)),
        ],
        pictures.note,
    )


def summary(results: dict) -> list[str]:
    """The best model for each job, with intervals, and what models cost.

    Args:
        results (dict): See ``results.json``.

    Returns:
        List[str]: A sentence each.

    Example:
        >>> figures = dict(top1=90.0, top1_low=88.0, top1_high=92.0)
        >>> model = dict(name='a', clean=dict(figures=figures))
        >>> summary(dict(models=[model]))[0]
        'On clean images, a is right on 90.0 [88.0, 92.0] %.'
    """
    jobs = [('On clean images', _right, clean, 'top1', 1, 1, False)]
    for name in corrupted_sets(results)[:1]:
        jobs += [
            (f'On {name}', _right, _mean_of(name), 'top1', 1, 1, False),
            (
                f'For confidence to trust on {name}',
                _calibrated,
                _mean_of(name),
                'ece',
                1,
                3,
                True,
            ),
        ]
    for name in names_of(results, 'ood')[:1]:
        jobs.append(
            (
                f'For telling {name} from the clean images',
                _rejects,
                lambda model, name=name: scores(model, name).get(
                    default_score(model, name)
                ),
                'auroc',
                100,
                1,
                False,
            )
        )
    found = []
    for job, words, figures, figure, scale, digits, lower in jobs:
        ranked = sorted(
            (
                model
                for model in results['models']
                if figure_of(figures(model), figure) is not None
            ),
            key=lambda model: (1 if lower else -1) * figures(model)[figure],
        )
        if ranked:
            shown = [
                with_interval(
                    scale * figures(one)[figure],
                    _scaled(interval_of(figures(one), figure), scale),
                    digits,
                )
                for one in ranked[:2]
            ]
            text = f'{job}, {words(ranked[0]["name"], shown[0])}'
            if len(ranked) > 1:
                text += (
                    f'; the next is {ranked[1]["name"]} with {shown[1]}'
                    + _apart(
                        *(
                            interval_of(figures(one), figure)
                            for one in ranked[:2]
                        )
                    )
                )
            found.append(f'{text}.')
    costs = [
        f'{number(_passes(model), 1).removesuffix(".0")} ({model["name"]})'
        for model in results['models']
    ]
    if any(_passes(model) != 1 for model in results['models']):
        found.append(
            'Cost, in passes through the network for each image: '
            f'{"; ".join(costs)}.'
        )
    return found


def decisions(results: dict) -> list[Block]:
    """Prediction sets and abstention, and where they fail.

    Args:
        results (dict): See ``results.json``.
    """
    tables = [
        one for one in decision_tables(results, True) if not one.is_empty()
    ]
    texts = promises(results)
    shown = [Block('list', content=dict(texts=texts))] if texts else []
    return shown + table_blocks(tables)


def _scaled(interval, scale: float):
    return interval and (scale * interval[0], scale * interval[1])


def _mean_of(name: str):
    return lambda model: shift(model, name).get('mean') or {}


def _right(name: str, value: str) -> str:
    return f'{name} is right on {value} %'


def _calibrated(name: str, value: str) -> str:
    return f'{name} has the smallest calibration error (ECE), {value}'


def _rejects(name: str, value: str) -> str:
    return f'{name} has the largest AUROC, {value} %'


def _apart(first, second) -> str:
    """Whether two intervals overlap, in words."""
    if first is None or second is None:
        return ''
    if first[0] <= second[1] and second[0] <= first[1]:
        return (
            ', and the intervals overlap, so that these images do not '
            'settle which is better'
        )
    return ', and the intervals do not overlap'


def _passes(model: dict) -> float:
    used = figure_of(clean(model), 'mean_used')
    return 1.0 if used is None else used


def class_blocks(
    answers: Answers, classes: Sequence[str] | None
) -> list[Block]:
    """Accuracy of each class, and which classes are taken for which.

    Args:
        answers (Dict[str, dict]): What each model says of each clean image.
        classes (Sequence[str], optional): Names of the classes.
    """
    if not answers:
        return []
    present = sorted(
        {int(one) for found in answers.values() for one in found['label']}
    )
    blocks = [Block('table', **_class_table(answers, classes, present))]
    for name, found in answers.items():
        counts = confusion(found)
        if len(present) <= IN_MATRIX:
            blocks.append(_matrix(name, counts, classes))
        else:
            blocks += table_blocks([_confusions(name, counts, classes)])
    return blocks


def confusion(found: dict[str, np.ndarray]) -> dict[tuple[int, int], int]:
    """How many images of a label got an answer, by (label, answer).

    Example:
        >>> confusion(dict(label=np.array([0, 0]), predicted=np.array([1, 1])))
        {(0, 1): 2}
    """
    pairs, counts = np.unique(
        np.stack([found['label'], found['predicted']]),
        axis=1,
        return_counts=True,
    )
    return {
        (int(label), int(answer)): int(count)
        for label, answer, count in zip(*pairs, counts)
    }


def _class_table(answers, classes, present) -> dict:
    rows, means = [], []
    for one in present:
        cells, shares = [], []
        for found in answers.values():
            mine = found['label'] == one
            count = int(mine.sum())
            if not count:
                cells.append('–')
                continue
            share = float((found['predicted'][mine] == one).mean())
            ends = wilson_interval(share, count)
            shares.append(share)
            cells.append(
                with_interval(100 * share, (100 * ends[0], 100 * ends[1]))
            )
        rows.append([class_name(classes, one), f'{count:,}', *cells])
        means.append(sum(shares) / max(len(shares), 1))
    caption = 'Clean images, with 95 % intervals (Wilson).'
    if len(rows) > LISTED:
        worst = np.argsort(means, kind='stable')[:LISTED]
        caption += (
            f' Of {len(rows):,} classes, the {LISTED} with the lowest '
            'accuracy.'
        )
        rows = [rows[i] for i in worst]
    table = Table(
        'Accuracy by class, %', caption, ['class', 'images', *answers], rows
    )
    return dict(
        title=table.title, caption=table.caption, content=dict(table=table)
    )


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
        dict(
            names=[class_name(classes, one) for one in used],
            rows=rows,
            shares=shares,
        ),
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
        for count, (i, j) in wrong[:LISTED]
    ]
    return Table(
        f'Most frequent confusions: {name}',
        f'{len(rows)} of {len(wrong):,} pairs of classes that were taken for '
        'each other; there are too many classes for a whole matrix.',
        ['label', 'answer', 'images'],
        rows,
        2,
    )


def _not_measured(results: dict) -> list[Block]:
    texts = [
        f'{one["name"]}: {one["reason"]}'
        for one in results.get('missing') or ()
    ]
    texts += [
        f'{one["name"]} by {one["model"] or "all"}: {one["reason"]}'
        for one in results.get('failed') or ()
    ]
    return [Block('list', content=dict(texts=texts))] if texts else []


def _made_with(results: dict) -> list[Block]:
    settings = results.get('settings') or {}
    seeds = results.get('seeds') or {}
    blocks = [
        facts_block(
            '',
            [
                ('command', results.get('command')),
                ('device', settings.get('device')),
                ('batch size', settings.get('batch_size')),
                ('mixed precision', 'yes' if settings.get('amp') else None),
                ('commit of mmanchor', results.get('commit')),
                *(
                    (f'seed of {name.replace("_", " ")}', value)
                    for name, value in seeds.items()
                ),
            ],
        )
    ]
    rows = [
        [
            str(model['name']),
            str(model.get('config')),
            str(model.get('checkpoint')),
            str(model['sha256']),
        ]
        for model in results['models']
        if model.get('sha256')
    ]
    if rows:
        header = ['model', 'config', 'checkpoint', 'SHA-256']
        blocks += table_blocks([Table('Checkpoints', '', header, rows, 4)])
    for title in ('versions', 'conventions'):
        if results.get(title):
            blocks.append(
                facts_block(title.capitalize(), list(results[title].items()))
            )
    return [one for one in blocks if one.kind != 'facts' or one.facts]
