"""Images out of distribution: by set, of the default and of every score."""

from .reading import (
    default_score,
    group_scores,
    groups_of,
    images_in_words,
    names_of,
    scores,
    shown,
)
from .table import Table

FIGURES = {'auroc': 'AUROC', 'fpr95': 'FPR95', 'aupr': 'AUPR'}


def ood_tables(results: dict, intervals: bool = False) -> list[Table]:
    """Default score: AUROC, FPR95 and AUPR; then AUROC of every score.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.
    """
    names = names_of(results, 'ood')
    if not names:
        return []
    groups = groups_of(results)
    header = ['model', 'score', *names, *(f'{one}, mean' for one in groups)]
    notes = [
        f'{group.capitalize()}: {", ".join(sets)}.'
        for group, sets in groups.items()
    ]
    notes = ' '.join(filter(None, [*notes, images_in_words(results, 'ood')]))
    tables = [
        Table(
            f'Out of distribution: {title}, %',
            "Each model's default score; "
            + ('smaller' if figure == 'fpr95' else 'larger')
            + ' is better.'
            + (f' {notes}' if notes else ''),
            header,
            [
                _default_row(model, names, groups, figure, intervals)
                for model in results['models']
                if model.get('ood')
            ],
            2,
        )
        for figure, title in FIGURES.items()
    ]
    every = [
        row
        for model in results['models']
        for row in _every_row(model, names, groups, intervals)
    ]
    if len(every) > len(tables[0].rows):
        tables.append(
            Table(
                'Out of distribution: AUROC of every score, %',
                'Larger is better.',
                header,
                every,
                2,
            )
        )
    return tables


def _default_row(
    model: dict,
    names: list[str],
    groups: dict[str, list[str]],
    figure: str,
    intervals: bool,
) -> list[str]:
    defaults = [default_score(model, name) for name in names]
    used = '/'.join(dict.fromkeys(score for score in defaults if score))
    row = [model['name'], used or '–'] + [
        _percent(scores(model, name).get(score), figure, intervals)
        for name, score in zip(names, defaults)
    ]
    # only a score that is the default on every set has a mean to show
    return row + [
        _percent(group_scores(model, group).get(used), figure, intervals)
        for group in groups
    ]


def _every_row(
    model: dict,
    names: list[str],
    groups: dict[str, list[str]],
    intervals: bool,
) -> list[list[str]]:
    found = dict.fromkeys(
        score for name in names for score in scores(model, name)
    )
    return [
        [model['name'], score]
        + [
            _percent(one.get(score), 'auroc', intervals)
            for one in (
                *(scores(model, name) for name in names),
                *(group_scores(model, group) for group in groups),
            )
        ]
        for score in found
    ]


def _percent(found: dict | None, figure: str, intervals: bool) -> str:
    found = found or {}
    in_percent = {
        key: None if found.get(key) is None else 100 * found[key]
        for key in (figure, f'{figure}_low', f'{figure}_high')
    }
    return shown(in_percent, figure, 1, intervals)
