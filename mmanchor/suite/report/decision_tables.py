"""Tables of prediction sets and abstention: are their promises kept?"""

from collections.abc import Iterator

from ...evaluation.confidence_intervals import wilson_interval
from ..results import Point, SuiteResults
from .table import Table, metric_text, number, with_interval

BROKEN = ' ✗'  # follows a value that breaks the promise


def decision_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Coverage and size of prediction sets, and errors of trusted answers."""
    return [
        *_set_tables(results, intervals),
        *_trust_tables(results, intervals),
        _vector_table(results),
    ]


def promises(results: SuiteResults) -> list[str]:
    """Say where prediction sets and trusted answers break their promise.

    Returns:
        List[str]: A sentence for each model and kind of promise.

    Example:
        >>> figures = dict(aps_coverage=0.5, aps_coverage_high=0.6)
        >>> model = dict(
        ...     name='a',
        ...     clean=dict(figures=figures),
        ...     prediction_sets=dict(aps=dict(coverage=0.9)),
        ... )
        >>> promises(SuiteResults(dict(models=[model])))
        ['Prediction sets (APS) of a hold the label less often than the 90 % \
asked for on clean images (50.0 %).']
    """
    points, sentences = _points(results), []
    for model, method, sets in _prediction_sets(results):
        share = f'{100 * sets["coverage"]:g} %'
        sentences.append(
            _sentence(
                results,
                f'Prediction sets ({method.upper()}) of {model} hold the '
                'label',
                f'less often than the {share} asked for',
                f'at least as often as the {share} asked for',
                {
                    point: results.value(model, point, f'{method}_coverage')
                    for point in points
                    if _falls_short(results, model, point, method, sets)
                },
            )
        )
    for model, threshold in _thresholds(results):
        share = f'{100 * threshold["max_error"]:g} %'
        sentences.append(
            _sentence(
                results,
                f'Of the answers of {model} that its threshold trusts,',
                f'more than the {share} asked for are wrong',
                f'no more than the {share} asked for are wrong',
                {
                    point: _trusted_error(results, model, point)
                    for point in points
                    if _is_above(results, model, point, threshold)
                },
            )
        )
    return sentences


def _prediction_sets(results: SuiteResults) -> list[tuple[str, str, dict]]:
    """The model, the method and the fit of all prediction sets."""
    return [
        (model['name'], method, sets)
        for model in results.content['models']
        for method, sets in (model.get('prediction_sets') or {}).items()
    ]


def _thresholds(results: SuiteResults) -> list[tuple[str, dict]]:
    """The model and the fit of all thresholds."""
    return [
        (model['name'], model['abstention'])
        for model in results.content['models']
        if model.get('abstention')
    ]


def _sentence(
    results: SuiteResults,
    subject: str,
    broken: str,
    holds: str,
    values: dict[Point, float],
) -> str:
    """Say where a promise is broken, given the values there."""
    if not values:
        return f'{subject} {holds}, as far as these images can tell.'
    by_set: dict[str, list[str]] = {}
    for point, value in values.items():
        text = f'({number(100 * value)} %)'
        if point == results.clean:
            by_set['clean images'] = [text]
        else:
            texts = by_set.setdefault(point.set, [])
            texts.append(f'{point.severity} {text}'.strip())
    parts = [
        f'{name} {texts[0]}'
        if texts[0].startswith('(')
        else f'{name} at severity {_joined(texts)}'
        for name, texts in by_set.items()
    ]
    return f'{subject} {broken} on {_joined(parts)}.'


def _joined(parts: list[str]) -> str:
    *others, last = parts
    return f'{", ".join(others)} and {last}' if others else last


def _trusted_error(
    results: SuiteResults, model: str, point: Point
) -> float | None:
    """The share of trusted answers that is wrong."""
    trusted = results.value(model, point, 'trusted')
    wrong = results.value(model, point, 'trusted_wrong')
    return wrong / trusted if trusted and wrong is not None else None


def _trusted_interval(
    results: SuiteResults, model: str, point: Point
) -> tuple[float, float] | None:
    """The interval of that share, in %, over the trusted images."""
    error = _trusted_error(results, model, point)
    total = results.num_images(point.set)
    trusted = results.value(model, point, 'trusted')
    if error is None or total is None or not trusted:
        return None
    # kinds share their images, so the interval is that of one kind
    low, high = wilson_interval(error, max(1, round(trusted * total)))
    return 100 * low, 100 * high


def _falls_short(
    results: SuiteResults, model: str, point: Point, method: str, sets: dict
) -> bool:
    """Whether even the upper end of the interval is below the promise."""
    high = results.value(model, point, f'{method}_coverage_high')
    return high is not None and high < sets['coverage']


def _is_above(
    results: SuiteResults, model: str, point: Point, threshold: dict
) -> bool:
    """Whether the error of trusted answers is above the promised one.

    The lower end of the interval of wrong answers decides, so that a few
    images can't.
    """
    trusted = results.value(model, point, 'trusted')
    low = results.value(model, point, 'trusted_wrong_low')
    return (
        bool(trusted)
        and low is not None
        and low > threshold['max_error'] * trusted
    )


def _points(results: SuiteResults) -> list[Point]:
    """Clean images, each severity of corrupted sets, and other shifts."""
    points = [results.clean]
    for name in results.sets('shifts'):
        severities = results.severities(name)
        points += [Point(name, severity=one) for one in severities] or [
            Point(name)
        ]
    return points


def _titles(results: SuiteResults) -> list[str]:
    clean, *others = _points(results)
    return [
        'clean images',
        *(
            f'{one.set}, severity {one.severity}' if one.severity else one.set
            for one in others
        ),
    ]


def _set_tables(results: SuiteResults, intervals: bool) -> Iterator[Table]:
    fits = _prediction_sets(results)
    if not fits:
        return
    header = ['model', 'sets', *_titles(results)]
    promised = sorted({100 * sets['coverage'] for *_, sets in fits})
    held_out = sorted({sets['num_images'] for *_, sets in fits})
    coverages, sizes = [], []
    for model, method, sets in fits:
        names = [model, method.upper()]
        coverages.append(names.copy())
        sizes.append(names)
        for point in _points(results):
            text = metric_text(
                results, model, point, f'{method}_coverage', 1, intervals, 100
            )
            short = _falls_short(results, model, point, method, sets)
            coverages[-1].append(text + BROKEN * short)
            sizes[-1].append(
                metric_text(
                    results, model, point, f'{method}_size', 2, intervals
                )
            )
    yield Table(
        'Prediction sets: how often they hold the label, %',
        f'{_either(promised)} % were asked for; sets were fitted on '
        f'{_either(held_out)} clean images that are held out. That is '
        f'promised for images like those alone. {BROKEN.strip()} marks where '
        'it fails: the whole 95 % interval is below. Of corrupted sets, the '
        'mean over kinds.',
        header,
        coverages,
        2,
    )
    yield Table(
        'Prediction sets: how many classes are in one',
        'Mean over images; smaller is better where the label is held as often '
        'as was asked for. APS: the likeliest classes up to a probability; '
        'RAPS: with a penalty of unlikely ones.',
        header,
        sizes,
        2,
    )


def _trust_tables(results: SuiteResults, intervals: bool) -> Iterator[Table]:
    fits = _thresholds(results)
    if not fits:
        return
    header = ['model', *_titles(results)]
    promised = sorted({100 * threshold['max_error'] for _, threshold in fits})
    values = '; '.join(
        f'{model} from {threshold["value"]:.4g}' for model, threshold in fits
    )
    errors, shares = [], []
    for model, threshold in fits:
        errors.append([model])
        shares.append([model])
        for point in _points(results):
            error = _trusted_error(results, model, point)
            above = _is_above(results, model, point, threshold)
            ends = _trusted_interval(results, model, point)
            text = with_interval(
                None if error is None else 100 * error,
                ends if intervals else None,
            )
            errors[-1].append(text + BROKEN * above)
            shares[-1].append(
                metric_text(
                    results, model, point, 'trusted', 1, intervals, 100
                )
            )
    yield Table(
        'Abstaining: how many of the trusted answers are wrong, %',
        f'At most {_either(promised)} % were asked for. An answer is trusted '
        'if its confidence is high enough, by a threshold found on clean '
        f'images that are held out ({values}). On shifted images nothing is '
        f'promised. {BROKEN.strip()} marks where more are wrong, beyond what '
        'chance explains. Of corrupted sets, of all kinds together.',
        header,
        errors,
    )
    yield Table(
        'Abstaining: how many answers are trusted, %',
        'The model abstains from the rest.',
        header,
        shares,
    )


def _vector_table(results: SuiteResults) -> Table:
    columns = {
        f'{title} {when}': f'{metric}_{when}_vector_scaling'
        for title, metric in (
            ('ECE', 'ece'),
            ('smECE', 'smooth_ece'),
            ('NLL', 'nll'),
        )
        for when in ('before', 'after')
    }
    rows = [
        [
            model['name'],
            f'{model["vector_scaling"]["num_images"]:,}',
            *(
                number(results.value(model['name'], results.clean, metric), 3)
                for metric in columns.values()
            ),
        ]
        for model in results.content['models']
        if model.get('vector_scaling')
    ]
    return Table(
        'Vector scaling',
        'A weight and a bias of each class, on clean images that they were '
        'not fitted to.',
        ['model', 'fitted on', *columns],
        rows,
    )


def _either(values: list[float]) -> str:
    return ' or '.join(f'{value:g}' for value in values)
