"""Prediction sets and abstention: is what was asked for still so on shifts?"""

from collections.abc import Callable, Iterator

from .reading import (
    clean,
    corrupted_sets,
    figure_of,
    interval_of,
    names_of,
    severities_of,
    shift,
)
from .table import Table, number, with_interval

BROKEN = ' ✗'  # after a figure that is not what was asked for
Figures = dict[str, float | None]
# the name of a set, a severity, and of a model the figures on its images
Place = tuple[str, str | None, Callable[[dict], Figures]]


def decision_tables(results: dict, intervals: bool = False) -> list[Table]:
    """Coverage and size of prediction sets, and errors of trusted answers.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals. Defaults to
            False.
    """
    return [
        *_set_tables(results, intervals),
        *_trust_tables(results, intervals),
        _vector_table(results),
    ]


def promises(results: dict) -> list[str]:
    """Where prediction sets and trusted answers are not what was asked for.

    Args:
        results (dict): See ``results.json``.

    Returns:
        List[str]: A sentence for each model and kind of promise.

    Example:
        >>> figures = dict(aps_coverage=0.5, aps_coverage_high=0.6)
        >>> model = dict(
        ...     name='a',
        ...     clean=dict(figures=figures),
        ...     prediction_sets=dict(aps=dict(coverage=0.9)),
        ... )
        >>> promises(dict(models=[model]))
        ['Prediction sets (APS) of a hold the label less often than the 90 % \
asked for on clean images (50.0 %).']
    """
    places, found = _places(results), []
    for model in results['models']:
        for method, sets in (model.get('prediction_sets') or {}).items():
            found.append(
                _sentence(
                    f'Prediction sets ({method.upper()}) of {model["name"]} '
                    'hold the label',
                    f'less often than the {100 * sets["coverage"]:g} % asked '
                    'for',
                    f'at least as often as the {100 * sets["coverage"]:g} % '
                    'asked for',
                    [
                        (*of, figures(model).get(f'{method}_coverage'))
                        for *of, figures in places
                        if _falls_short(figures(model), method, sets)
                    ],
                )
            )
        threshold = model.get('abstention')
        if threshold:
            found.append(
                _sentence(
                    f'Of the answers of {model["name"]} that its threshold '
                    'trusts,',
                    f'more than the {100 * threshold["max_error"]:g} % asked '
                    'for are wrong',
                    f'no more than the {100 * threshold["max_error"]:g} % '
                    'asked for are wrong',
                    [
                        (*of, trusted_error(figures(model)))
                        for *of, figures in places
                        if _is_above(figures(model), threshold)
                    ],
                )
            )
    return found


def _sentence(subject: str, broken: str, holds: str, where: list) -> str:
    if not where:
        return f'{subject} {holds}, as far as these images can tell.'
    by_set: dict[str, list[str]] = {}
    for name, severity, value in where:
        shown = f'({number(100 * value)} %)'
        by_set.setdefault(name, []).append(
            shown if severity is None else f'{severity} {shown}'
        )
    parts = [
        f'{name} {shown[0]}'
        if shown[0].startswith('(')
        else f'{name} at severity {_in_words(shown)}'
        for name, shown in by_set.items()
    ]
    return f'{subject} {broken} on {_in_words(parts)}.'


def _in_words(parts: list[str]) -> str:
    *others, last = parts
    return f'{", ".join(others)} and {last}' if others else last


def trusted_error(figures: Figures) -> float | None:
    """The share of trusted answers that is wrong.

    Example:
        >>> trusted_error(dict(trusted=0.5, trusted_wrong=0.1))
        0.2
    """
    trusted = figure_of(figures, 'trusted')
    wrong = figure_of(figures, 'trusted_wrong')
    return wrong / trusted if trusted and wrong is not None else None


def _falls_short(figures: Figures, method: str, sets: dict) -> bool:
    """Whether even the upper end of the interval is below what was asked."""
    high = figure_of(figures, f'{method}_coverage_high')
    return high is not None and high < sets['coverage']


def _is_above(figures: Figures, threshold: dict) -> bool:
    """Whether the error of trusted answers is above the level.

    By the lower end of the interval of the wrong ones, so that a few images
    can't decide it.
    """
    trusted = figure_of(figures, 'trusted')
    low = figure_of(figures, 'trusted_wrong_low')
    return (
        bool(trusted)
        and low is not None
        and (low > threshold['max_error'] * trusted)
    )


def _places(results: dict) -> list[Place]:
    """Clean images, each severity of corrupted sets, and other shifts."""
    found: list[Place] = [('clean images', None, clean)]
    corrupted = corrupted_sets(results)
    for name in names_of(results, 'shifts'):
        if name not in corrupted:
            found.append((name, None, lambda model, n=name: _mean(model, n)))
            continue
        for one in severities_of(results, name):
            found.append(
                (
                    name,
                    one,
                    lambda model, n=name, s=one: (
                        (shift(model, n).get('by_severity') or {}).get(s) or {}
                    ),
                )
            )
    return found


def _title(place: Place) -> str:
    name, severity, _ = place
    return name if severity is None else f'{name}, severity {severity}'


def _mean(model: dict, name: str) -> Figures:
    return shift(model, name).get('mean') or {}


def _set_tables(results: dict, intervals: bool) -> Iterator[Table]:
    rows = [
        (model, method, sets)
        for model in results['models']
        for method, sets in (model.get('prediction_sets') or {}).items()
    ]
    if not rows:
        return
    places = _places(results)
    header = ['model', 'sets', *map(_title, places)]
    asked = sorted({100 * sets['coverage'] for *_, sets in rows})
    held_out = sorted({sets['num_images'] for *_, sets in rows})
    yield Table(
        'Prediction sets: how often they hold the label, %',
        f'{_listed(asked)} % were asked for; sets were fitted on '
        f'{_listed(held_out)} clean images that are held out. That is '
        f'promised for images like those alone. {BROKEN.strip()} marks where '
        'it fails: the whole 95 % interval is below. Of corrupted sets, the '
        'mean over kinds.',
        header,
        [
            [
                model['name'],
                method.upper(),
                *(
                    _cell(figures(model), f'{method}_coverage', 100, intervals)
                    + BROKEN * _falls_short(figures(model), method, sets)
                    for *_, figures in places
                ),
            ]
            for model, method, sets in rows
        ],
        2,
    )
    yield Table(
        'Prediction sets: how many classes are in one',
        'Mean over images; smaller is better where the label is held as often '
        'as was asked for. APS: the likeliest classes up to a probability; '
        'RAPS: with a penalty of unlikely ones.',
        header,
        [
            [
                model['name'],
                method.upper(),
                *(
                    _cell(figures(model), f'{method}_size', 1, intervals, 2)
                    for *_, figures in places
                ),
            ]
            for model, method, _ in rows
        ],
        2,
    )


def _trust_tables(results: dict, intervals: bool) -> Iterator[Table]:
    rows = [
        (model, model['abstention'])
        for model in results['models']
        if model.get('abstention')
    ]
    if not rows:
        return
    places = _places(results)
    header = ['model', *map(_title, places)]
    asked = sorted({100 * threshold['max_error'] for _, threshold in rows})
    values = '; '.join(
        f'{model["name"]} from {threshold["value"]:.4g}'
        for model, threshold in rows
    )
    yield Table(
        'Abstaining: how many of the trusted answers are wrong, %',
        f'At most {_listed(asked)} % were asked for. An answer is trusted if '
        f'its confidence is high enough, by a threshold found on clean images '
        f'that are held out ({values}). On shifted images nothing is '
        f'promised. {BROKEN.strip()} marks where more are wrong, beyond what '
        'chance explains. Of corrupted sets, of all kinds together.',
        header,
        [
            [
                model['name'],
                *(
                    _error_cell(figures(model))
                    + BROKEN * _is_above(figures(model), threshold)
                    for *_, figures in places
                ),
            ]
            for model, threshold in rows
        ],
    )
    yield Table(
        'Abstaining: how many answers are trusted, %',
        'The model abstains from the rest.',
        header,
        [
            [
                model['name'],
                *(
                    _cell(figures(model), 'trusted', 100, intervals)
                    for *_, figures in places
                ),
            ]
            for model, _ in rows
        ],
    )


def _vector_table(results: dict) -> Table:
    shown = {'ECE': 'ece', 'smECE': 'smooth_ece', 'NLL': 'nll'}
    rows = []
    for model in results['models']:
        found = model.get('vector_scaling')
        if found:
            row = [model['name'], f'{found["num_images"]:,}']
            row += [
                number(figure_of(found[when], figure), 3)
                for figure in shown.values()
                for when in ('before', 'after')
            ]
            rows.append(row)
    header = ['model', 'fitted on']
    header += [
        f'{name} {when}' for name in shown for when in ('before', 'after')
    ]
    return Table(
        'Vector scaling',
        'A weight and a bias of each class, on clean images that they were '
        'not fitted to.',
        header,
        rows,
    )


def _cell(
    figures: Figures, name: str, scale: float, intervals: bool, digits: int = 1
) -> str:
    value, ends = figure_of(figures, name), interval_of(figures, name)
    return with_interval(
        None if value is None else scale * value,
        (scale * ends[0], scale * ends[1]) if intervals and ends else None,
        digits,
    )


def _error_cell(figures: Figures) -> str:
    error = trusted_error(figures)
    return number(None if error is None else 100 * error)


def _listed(values: list[float]) -> str:
    return ' or '.join(f'{value:g}' for value in values)
