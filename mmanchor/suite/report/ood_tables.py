"""Images out of distribution: by set, of the default and of every score."""

from .reading import (
    default_score,
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
    header = ['model', 'score', *names]
    images = images_in_words(results, 'ood')
    tables = [
        Table(
            f'Out of distribution: {title}, %',
            "Each model's default score; "
            + ('smaller' if figure == 'fpr95' else 'larger')
            + ' is better.'
            + (f' {images}' if images else ''),
            header,
            [
                _default_row(model, names, figure, intervals)
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
        for row in _every_row(model, names, intervals)
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
    model: dict, names: list[str], figure: str, intervals: bool
) -> list[str]:
    defaults = [default_score(model, name) for name in names]
    used = '/'.join(dict.fromkeys(score for score in defaults if score))
    return [model['name'], used or '–'] + [
        _percent(model, name, score, figure, intervals)
        for name, score in zip(names, defaults)
    ]


def _every_row(
    model: dict, names: list[str], intervals: bool
) -> list[list[str]]:
    found = dict.fromkeys(
        score for name in names for score in scores(model, name)
    )
    return [
        [model['name'], score]
        + [_percent(model, name, score, 'auroc', intervals) for name in names]
        for score in found
    ]


def _percent(
    model: dict, name: str, score: str, figure: str, intervals: bool
) -> str:
    found = scores(model, name).get(score) or {}
    in_percent = {
        key: None if found.get(key) is None else 100 * found[key]
        for key in (figure, f'{figure}_low', f'{figure}_high')
    }
    return shown(in_percent, figure, 1, intervals)
