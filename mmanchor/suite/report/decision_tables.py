"""Tables of prediction sets and abstention: are their promises kept?"""

from collections.abc import Iterator

from ...evaluation.confidence_intervals import wilson_interval
from ..results import Point, SuiteResults
from .summary import joined
from .table import Table, metric_text, number, with_interval

BROKEN = ' ✗'  # follows a value that breaks the promise
# of each scaling of logits: the title of its table, its caption, and the title
# of the second column
SCALINGS = dict(
    temperature=(
        'Temperature scaling',
        'On clean images that T was not fitted to.',
        'T',
    ),
    vector_scaling=(
        'Vector scaling',
        'A weight and a bias of each class, on clean images that they were '
        'not fitted to.',
        'fitted on',
    ),
)


def decision_tables(
    results: SuiteResults, intervals: bool = False
) -> list[Table]:
    """Coverage and size of prediction sets, and errors of trusted answers."""
    return [
        *_set_tables(results, intervals),
        *_trust_tables(results, intervals),
        scaling_table(results, 'vector_scaling'),
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
    points, sentences = list(_titles(results)), []
    for model, method, sets in _prediction_sets(results):
        share = f'{100 * sets["coverage"]:g} %'
        broken = {
            point: 100 * results.value(model, point, f'{method}_coverage')
            for point in points
            if _falls_short(results, model, point, method, sets)
        }
        words = 'less often than' if broken else 'at least as often as'
        sentences.append(
            f'Prediction sets ({method.upper()}) of {model} hold the label '
            f'{words} the {share} asked for{_where(results, broken)}'
        )
    for model, threshold in _thresholds(results):
        share = f'{100 * threshold["max_error"]:g} %'
        broken = {
            point: _trusted_error(results, model, point)[0]
            for point in points
            if _is_above(results, model, point, threshold)
        }
        words = 'more' if broken else 'no more'
        sentences.append(
            f'Of the answers of {model} that its threshold trusts, {words} '
            f'than the {share} asked for are wrong{_where(results, broken)}'
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


def _where(results: SuiteResults, broken: dict[Point, float]) -> str:
    """Words for where a promise is broken, given the values there, in %."""
    if not broken:
        return ', as far as these images can tell.'
    by_set: dict[str, list[str]] = {}
    for point, value in broken.items():
        text = f'({number(value)} %)'
        if point == results.clean:
            by_set['clean images'] = [text]
        else:
            texts = by_set.setdefault(point.set, [])
            texts.append(f'{point.severity} {text}'.strip())
    parts = [
        f'{name} {texts[0]}'
        if texts[0].startswith('(')
        else f'{name} at severity {joined(texts)}'
        for name, texts in by_set.items()
    ]
    return f' on {joined(parts)}.'


def _trusted_error(
    results: SuiteResults, model: str, point: Point
) -> tuple[float | None, tuple[float, float] | None]:
    """The share of trusted answers that is wrong, in %, and its interval."""
    trusted = results.value(model, point, 'trusted')
    wrong = results.value(model, point, 'trusted_wrong')
    if not trusted or wrong is None:
        return None, None
    error, total = wrong / trusted, results.num_images(point.set)
    if total is None:
        return 100 * error, None
    # kinds share their images, so the interval is that of one kind
    low, high = wilson_interval(error, max(1, round(trusted * total)))
    return 100 * error, (100 * low, 100 * high)


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


def _titles(results: SuiteResults) -> dict[Point, str]:
    """The title of each column.

    There is a column for clean images, one for each severity of corrupted
    sets, and one for each other shifted set.
    """
    titles = {results.clean: 'clean images'}
    for name in results.sets('shifts'):
        for severity in results.severities(name):
            title = f'{name}, severity {severity}'
            titles[Point(name, severity=severity)] = title
        if name not in results.corrupted_sets:
            titles[Point(name)] = name
    return titles


def _set_tables(results: SuiteResults, intervals: bool) -> Iterator[Table]:
    fits = _prediction_sets(results)
    if not fits:
        return
    titles = _titles(results)
    header = ['model', 'sets', *titles.values()]
    promised = sorted({100 * sets['coverage'] for *_, sets in fits})
    held_out = sorted({sets['num_images'] for *_, sets in fits})
    coverages, sizes = [], []
    for model, method, sets in fits:
        coverages.append([model, method.upper()])
        sizes.append([model, method.upper()])
        for point in titles:
            coverage, size = f'{method}_coverage', f'{method}_size'
            short = _falls_short(results, model, point, method, sets)
            coverages[-1].append(
                metric_text(results, model, point, coverage, 1, intervals, 100)
                + BROKEN * short
            )
            sizes[-1].append(
                metric_text(results, model, point, size, 2, intervals)
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
    titles = _titles(results)
    header = ['model', *titles.values()]
    promised = sorted({100 * threshold['max_error'] for _, threshold in fits})
    values = '; '.join(
        f'{model} from {threshold["value"]:.4g}' for model, threshold in fits
    )
    errors, shares = [], []
    for model, threshold in fits:
        errors.append([model])
        shares.append([model])
        for point in titles:
            error, ends = _trusted_error(results, model, point)
            above = _is_above(results, model, point, threshold)
            text = with_interval(error, ends if intervals else None)
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


def scaling_table(results: SuiteResults, kind: str) -> Table:
    """Calibration before and after a scaling of logits, in ``SCALINGS``."""
    titles = dict(ece='ECE', smooth_ece='smECE', nll='NLL')
    columns = {
        f'{title} {when}': f'{metric}_{when}_{kind}'
        for metric, title in titles.items()
        for when in ('before', 'after')
    }
    rows = []
    for model in results.content['models']:
        fit = model.get(kind)
        if fit:
            about = (
                number(fit['temperature'], 2)
                if kind == 'temperature'
                else f'{fit["num_images"]:,}'
            )
            texts = [
                number(results.value(model['name'], results.clean, metric), 3)
                for metric in columns.values()
            ]
            rows.append([model['name'], about, *texts])
    title, caption, second = SCALINGS[kind]
    return Table(title, caption, ['model', second, *columns], rows)


def _either(values: list[float]) -> str:
    return ' or '.join(f'{value:g}' for value in values)
