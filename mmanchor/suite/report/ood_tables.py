"""Images out of distribution: by set, of the default and of every score."""

from .reading import default_score, names_of, scores
from .table import Table, number

FIGURES = {'auroc': 'AUROC', 'fpr95': 'FPR95', 'aupr': 'AUPR'}


def ood_tables(results: dict) -> list[Table]:
    """Default score: AUROC, FPR95 and AUPR; then AUROC of every score.

    Args:
        results (dict): See ``results.json``.
    """
    names = names_of(results, 'ood')
    if not names:
        return []
    header = ['model', 'score', *names]
    tables = [
        Table(
            f'Out of distribution: {title}, %',
            "Each model's default score; "
            + ('smaller' if figure == 'fpr95' else 'larger')
            + ' is better.',
            header,
            [
                _default_row(model, names, figure)
                for model in results['models']
                if model.get('ood')
            ],
            2,
        )
        for figure, title in FIGURES.items()
    ]
    every = [
        row for model in results['models'] for row in _every_row(model, names)
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


def _default_row(model: dict, names: list[str], figure: str) -> list[str]:
    defaults = [default_score(model, name) for name in names]
    used = '/'.join(dict.fromkeys(score for score in defaults if score))
    return [model['name'], used or '–'] + [
        _percent(model, name, score, figure)
        for name, score in zip(names, defaults)
    ]


def _every_row(model: dict, names: list[str]) -> list[list[str]]:
    found = dict.fromkeys(
        score for name in names for score in scores(model, name)
    )
    return [
        [model['name'], score]
        + [_percent(model, name, score, 'auroc') for name in names]
        for score in found
    ]


def _percent(model: dict, name: str, score: str, figure: str) -> str:
    value = (scores(model, name).get(score) or {}).get(figure)
    return number(None if value is None else 100 * value)
