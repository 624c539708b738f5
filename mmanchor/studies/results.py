"""The results of a study: what all of its cells show together.

Means and intervals over seeds, and paired differences from a baseline. The
dict that :func:`assemble_study` returns is what ``results.json`` holds.
"""

import math
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np

from ..suite.corrupted_sets import corruption_settings
from ..suite.results import corruption_words
from ..suite.spec import load_suite
from ..utils.config import changes
from .cells import CellStore, StudyCell, describe_changes
from .metrics import TIME_METRICS, clip_interval, values_of
from .spec import Study

CONFIDENCE = 0.95
# how to read the figures, in the words that reports print
CONVENTIONS = dict(
    std='sample standard deviation over seeds; a single seed has none',
    intervals='in brackets: the 95 % t-interval of the mean over seeds, with '
    'n - 1 degrees of freedom; it covers the variation between trainings, '
    'not that between test images, which are the same for all seeds',
    seeds='a seed decides weights, order, augmentation, masks and references',
    corrupted='mean over kinds at each severity, then over severities',
    noise_blur_weather_digital='groups of kinds of corruption (Hendrycks and '
    'Dietterich 2019): mean over kinds and severities',
    temperature='fitted on held-out clean images, which are not tested on; 1 '
    'if none fits, for example because the model is right on all of them',
    ece='L1, top label, 15 bins of equal width; for corrupted images, the '
    'mean of the values for each kind and severity rather than the value for '
    'all images together; smECE, NLL, Brier score and AURC likewise',
    aurc='mean error rate of the n most confident images, over all n; E-AURC '
    'subtracts the value of the best possible order',
    auroc='in %, by energy, mean over sets; images out of distribution are '
    'the positive class',
    one_reference='mean, and population standard deviation, of the accuracies '
    'with each of the K references alone',
    stem_distance='||Wr - Wd|| / ||Wd||: weights on the reference over those '
    'on the image; 1.41 for independent halves, 0 if the reference has no '
    'influence',
    seconds='for 1000 clean images, without reading them; median of 3 rounds',
    training_seconds='of all epochs, including the model it starts from',
    difference='from the baseline with the same seed: mean, and 95 % '
    't-interval with n - 1 degrees of freedom; "level" if the interval '
    'contains zero. Each interval is computed by itself: among 20 settings '
    'without any true difference, about one is not called level',
    paper='as published, if data and architecture are the same',
)
ENSEMBLES = (
    "the mean of the members' probabilities; members are trained alike with "
    'as many seeds. Ensembles of different seeds share members, so they '
    'differ less, and their intervals are narrower, than those of independent '
    'ensembles'
)


def assemble_study(
    study: Study,
    cells: Sequence[StudyCell],
    store: CellStore,
    as_published: bool = True,
) -> dict:
    """Gather the results of all finished cells among those asked for.

    Args:
        study (Study): The study.
        cells (Sequence[StudyCell]): The cells that were asked for.
        store (CellStore): Their records.
        as_published (bool): Whether the architecture is the ground's, so
            that published values can be shown. Defaults to True.

    Returns:
        dict: The content of ``results.json``. Values that differ from run to
        run are in ``times``, apart from all others.
    """
    finished = [
        (cell, store.get(cell)) for cell in cells if store.is_done(cell)
    ]
    records = [record for _, record in finished]
    settings, times = [], {}
    for setting in study.settings:
        if all(cell.setting != setting for cell in cells):
            continue
        by_seed = {
            str(cell.seed): record
            for cell, record in finished
            if cell.setting == setting
        }
        values = {
            seed: values_of(record['model'], study.on.shifted)
            for seed, record in by_seed.items()
        }
        row = dict(
            name=setting.name,
            method=setting.method,
            series=setting.line,
            x=setting.x,
            seeds=values,
            **over_seeds(list(values.values())),
            paper=setting.paper.get(study.on.name, {}) if as_published else {},
        )
        landscapes = [
            record['model']['landscape']
            for record in by_seed.values()
            if 'landscape' in record['model']
        ]
        if landscapes:  # averaged point by point
            row['landscape'] = {
                part: np.mean([one[part] for one in landscapes], 0).tolist()
                for part in landscapes[0]
            }
        settings.append(row)
        times[setting.name] = _times(
            [record['times'] for record in by_seed.values()]
        )
    baseline = _add_differences(settings, study.baseline)
    conventions = dict(CONVENTIONS)
    if any(one.ensemble > 1 for one in study.settings):
        conventions['ensembles'] = ENSEMBLES
    return dict(
        study=study.name,
        title=study.title,
        caption=study.caption,
        on=dict(name=study.on.name, title=study.on.title),
        suite=study.on.suite,
        shifted=study.on.shifted,
        corruptions=_corruptions(study, records),
        metrics=list(study.metrics),
        baseline=baseline,
        jobs=dict(study.jobs),
        settings=settings,
        missing=_missing(cells, store),
        conventions=conventions,
        images=_image_counts(study, records),
        made_with=_made_with(records),
        checkpoints=[
            dict(
                setting=cell.setting.name,
                seed=cell.seed,
                trained=record.get('trained'),
                weights=record.get('weights'),
            )
            for cell, record in finished
        ],
        times=times,
    )


def over_seeds(values: list[dict[str, float]]) -> dict:
    """Summarise the metrics of several seeds.

    Returns:
        dict: ``mean``, ``std`` and ``interval`` of each metric that all seeds
        have, and ``n``, the number of seeds. Intervals hold only values that
        the metric can have.

    Example:
        >>> over_seeds([dict(clean=90.0), dict(clean=92.0)])['mean']
        {'clean': 91.0}
    """
    columns = {
        name: [one[name] for one in values]
        for name in (values[0] if values else ())
        if all(name in one for one in values)
    }
    return dict(
        mean={name: mean(column) for name, column in columns.items()},
        std={
            name: stdev(column) if len(column) > 1 else None
            for name, column in columns.items()
        },
        interval={
            name: clip_interval(t_interval(column), name)
            for name, column in columns.items()
        },
        n=len(values),
    )


def with_times(results: dict, setting: dict) -> dict:
    """``mean``, ``std``, ``interval`` and ``n`` of a setting, with its times.

    ``results`` is the content of ``results.json``, and ``setting`` one of its
    ``settings``.
    """
    times = results['times'].get(setting['name'], {})
    summary: dict = {
        part: {**setting.get(part, {}), **times.get(part, {})}
        for part in ('mean', 'std', 'interval')
    }
    return dict(summary, n=setting['n'])


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % t-interval for the mean of values, one for each seed.

    It is None for fewer than two values.

    Raises:
        ImportError: SciPy is not installed.

    Example:
        >>> low, high = t_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)

    Source: Student, The Probable Error of a Mean, Biometrika 1908.
    """
    if len(values) < 2:
        return None
    try:
        from scipy.stats import t
    except ImportError as error:
        raise ImportError(
            'Intervals are computed by SciPy, which is not installed. Install '
            'it with `pip install "mmanchor[eval]"`.'
        ) from error
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def paired_difference(
    values: dict[str, dict[str, float]], baseline: dict[str, dict[str, float]]
) -> dict:
    """Compare the metrics of a setting with a baseline's, seed by seed.

    Returns:
        dict: ``left_out``: seeds that only one of the two has; ``metrics``:
        for each metric the ``mean`` of the differences, their ``interval``,
        their number ``n``, and whether they are ``level``, which means that
        the interval contains zero. With one seed, the last two are None.

    Example:
        >>> found = paired_difference(
        ...     {'0': {'clean': 9.0}, '1': {'clean': 8.0}},
        ...     {'0': {'clean': 7.0}, '2': {'clean': 6.0}},
        ... )
        >>> found['metrics']['clean']
        {'mean': 2.0, 'interval': None, 'n': 1, 'level': None}
        >>> found['left_out']
        ['1', '2']
    """
    both = [seed for seed in values if seed in baseline]
    differences: dict[str, list[float]] = {}
    for seed in both:
        for name, value in values[seed].items():
            if name in baseline[seed]:
                difference = value - baseline[seed][name]
                differences.setdefault(name, []).append(difference)
    metrics = {}
    for name, column in differences.items():
        interval = t_interval(column)
        metrics[name] = dict(
            mean=mean(column),
            interval=interval and list(interval),
            n=len(column),
            level=interval and bool(interval[0] <= 0 <= interval[1]),
        )
    return dict(
        left_out=[seed for seed in {**values, **baseline} if seed not in both],
        metrics=metrics,
    )


def _add_differences(settings: list[dict], baseline: str | None) -> str | None:
    """Compare all settings with the baseline; None if it is not there."""
    by_name = {one['name']: one for one in settings}
    if baseline not in by_name:
        baseline = None
    for one in settings:
        one['difference'] = (
            None
            if baseline in (None, one['name'])
            else paired_difference(one['seeds'], by_name[baseline]['seeds'])
        )
    return baseline


def _corruptions(study: Study, records: list[dict]) -> list[str]:
    """Describe the kinds, severities and settings of the shifted set.

    There are several descriptions if cells differ, and none if the set has no
    kinds of corruption.
    """
    suite = load_suite(study.on.suite)
    shifted = next(one for one in suite.shifts if one.name == study.on.shifted)
    if not shifted.is_corrupted:
        return []
    # the records of earlier versions do not name the settings
    present = dict(
        settings=corruption_settings(shifted), images=shifted.images
    )
    default = {shifted.name: present} if shifted.make else {}
    words = [
        corruption_words(
            len(shifted.all_kinds),
            len(shifted.severities),
            record.get('corruptions', default).get(shifted.name),
        )
        for record in records
    ]
    return list(dict.fromkeys(words))


def _image_counts(study: Study, records: list[dict]) -> dict[str, int]:
    """Count the images of ``clean`` and ``corrupted`` figures.

    The number of corrupted images is that of each kind and severity.
    """
    counts: dict[str, int] = {}
    for record in records:
        model = record['model']
        shifts = model.get('shifts') or {}
        for name, part in (
            ('clean', model.get('clean') or {}),
            ('corrupted', shifts.get(study.on.shifted) or {}),
        ):
            if part.get('num_images') is not None:
                counts.setdefault(name, part['num_images'])
    return counts


def _times(times: list[dict]) -> dict:
    known = [
        {name: one[name] for name in TIME_METRICS if name in one}
        for one in times
    ]
    return dict(
        over_seeds(known),
        training=sum(one['training'] for one in times),
        measuring=sum(one['measuring'] for one in times),
    )


def _missing(cells: Sequence[StudyCell], store: CellStore) -> list[dict]:
    """List missing cells and test sets with the reasons.

    Cells with the same state and reason share one entry.
    """
    names: dict[tuple, list[str]] = {}
    for cell in cells:
        record, state = store.get(cell), store.state(cell)
        if state == 'changed':
            paths = changes(record['depends'], cell.depends)
            keys = [(state, describe_changes(paths, 2))]
        elif record is None or state in ('to do', 'started', 'running'):
            keys = [(state, None)]
        else:
            keys = [
                (f'{part}: {problem["name"]}', problem['reason'])
                for part in ('failed', 'missing', 'unfitted')
                for problem in record.get(part, [])
            ]
        for key in keys:
            names.setdefault(key, []).append(str(cell))
    return [
        dict(state=state, reason=reason, cells=of_reason)
        for (state, reason), of_reason in names.items()
    ]


def _made_with(records: list[dict]) -> list[dict]:
    """Versions, commit and device; several entries if cells differ."""
    made = []
    for record in records:
        entry = {key: record[key] for key in ('versions', 'commit', 'device')}
        if entry not in made:
            made.append(entry)
    return made
