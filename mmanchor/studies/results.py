"""From cells to a study's results: mean and spread over seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np

from ..suite.corrupted_sets import settings_of
from ..suite.report.reading import corruption_words
from ..suite.spec import load_suite
from ..utils.config import changes
from .cells import CellStore, StudyCell, describe_changes
from .metrics import OF_TIMES, values_of
from .paired import paired_difference, t_interval
from .spec import Study

CONVENTIONS = dict(
    std='sample standard deviation over seeds; none of one seed',
    intervals='in brackets: 95 % t-interval of the mean over seeds, with '
    'n - 1 degrees of freedom; it has seeds of training in it, all of them '
    'tested on the same images',
    seeds='a seed decides weights, order, augmentation, masks and references',
    corrupted='mean over kinds at each severity, then over severities',
    noise_blur_weather_digital='groups of kinds of corruption (Hendrycks and '
    'Dietterich 2019): mean over kinds and severities',
    temperature='fitted on held-out clean images, which are not tested on; 1 '
    'where none fits, as where all of them are right',
    ece='L1, top label, 15 bins of equal width; of corrupted images, as '
    'smECE, NLL, Brier score and AURC, the mean over sets: of the figures of '
    'each kind and severity, not of all their images pooled',
    aurc='mean error rate of the n most confident images; E-AURC less that of '
    'the best order',
    auroc='out of distribution positive, by energy, mean over sets, in %',
    one_reference='mean, and population standard deviation, of the accuracies '
    'with each of the K references alone',
    stem_distance='||Wr - Wd|| / ||Wd||: weights on the reference over those '
    'on the image; 1.41 for independent halves, 0 if it has no influence',
    seconds='for 1000 clean images without reading them; median of 3 rounds',
    training_seconds='of all epochs, with those of the model it starts from',
    difference='from the baseline with the same seed: mean, and 95 % '
    't-interval with n - 1 degrees of freedom; "level" where it holds zero. '
    'Each interval stands by itself: about 1 in 20 of no difference is not '
    'level',
    paper='as published, where data and architecture are the same',
)
ENSEMBLES = (
    "the mean of the members' probabilities, of as many seeds of the same "
    'training; those of different seeds share members, so that they differ '
    'less, and their intervals are narrower, than those of ensembles apart'
)


def assemble(
    study: Study,
    cells: Sequence[StudyCell],
    kept: CellStore,
    as_published: bool = True,
) -> dict:
    """All that was found so far.

    Args:
        study (Study): Any.
        cells (Sequence[StudyCell]): Those that were asked for.
        kept (CellStore): What is known of them.
        as_published (bool): Whether the architecture is the ground's, so
            that published figures may stand beside. Defaults to True.

    Returns:
        dict: What ``results.json`` has; ``times`` apart, which differ from
        run to run.
    """
    found = {
        (cell.setting.name, cell.seed): one
        for cell, one in kept.finished(cells)
    }
    settings, times = [], {}
    for setting in study.settings:
        mine = {
            cell.seed: found.get((setting.name, cell.seed))
            for cell in cells
            if cell.setting == setting
        }
        if not mine:
            continue
        of_seeds = {
            str(seed): values_of(one['model'], study.on.shifted)
            for seed, one in mine.items()
            if one is not None
        }
        landscapes = [
            one['model']['landscape']
            for one in mine.values()
            if one is not None and 'landscape' in one['model']
        ]
        settings.append(
            dict(
                name=setting.name,
                method=setting.method,
                series=setting.line,
                x=setting.x,
                seeds=of_seeds,
                **over_seeds(list(of_seeds.values())),
                paper=setting.paper.get(study.on.name, {})
                if as_published
                else {},
                **(
                    {'landscape': _mean_landscape(landscapes)}
                    if landscapes
                    else {}
                ),
            )
        )
        times[setting.name] = _times(
            [one['times'] for one in mine.values() if one is not None]
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
        corruptions=_corruptions(study, list(found.values())),
        metrics=list(study.metrics),
        baseline=baseline,
        jobs=dict(study.jobs),
        settings=settings,
        missing=_missing(cells, kept),
        conventions=conventions,
        images=_images(study, list(found.values())),
        made_with=_made_with(list(found.values())),
        checkpoints=[
            dict(
                setting=name,
                seed=seed,
                trained=one.get('trained'),
                weights=one.get('weights'),
            )
            for (name, seed), one in found.items()
        ],
        times=times,
    )


def _corruptions(study: Study, found: list[dict]) -> list[str]:
    """Kinds, severities and settings of the shifted set, in words.

    Returns:
        list[str]: Several if cells differ in them, none if it has no kinds.
    """
    shifted = next(
        (
            one
            for one in load_suite(study.on.suite).shifts
            if one.name == study.on.shifted and one.is_corrupted
        ),
        None,
    )
    if shifted is None:
        return []
    # of cells that were measured before settings were recorded in them
    asked = dict(settings=settings_of(shifted), images=shifted.images)
    before = {shifted.name: asked} if shifted.make else {}
    return list(
        dict.fromkeys(
            corruption_words(
                len(shifted.all_kinds),
                len(shifted.severities),
                one.get('corruptions', before).get(shifted.name),
            )
            for one in found
        )
    )


def _images(study: Study, found: list[dict]) -> dict[str, int]:
    """How many images ``clean`` and ``corrupted`` figures are of.

    Of corrupted sets, of each kind and severity; without what cells did not
    record.
    """
    counts = {}
    for one in found:
        model = one['model']
        shifted = (model.get('shifts') or {}).get(study.on.shifted) or {}
        for name, part in (
            ('clean', model.get('clean') or {}),
            ('corrupted', shifted),
        ):
            if part.get('num_images') is not None:
                counts.setdefault(name, part['num_images'])
    return counts


def over_seeds(values: list[dict[str, float]]) -> dict:
    """``mean``, ``std``, ``interval`` of each figure that every seed has.

    And ``n``, how many seeds there are.

    Example:
        >>> over_seeds([dict(clean=90.0), dict(clean=92.0)])['mean']
        {'clean': 91.0}
    """
    names = [
        name
        for name in (values[0] if values else ())
        if all(name in one for one in values)
    ]
    columns = {name: [one[name] for one in values] for name in names}
    return dict(
        mean={name: mean(column) for name, column in columns.items()},
        std={
            name: stdev(column) if len(column) > 1 else None
            for name, column in columns.items()
        },
        interval={
            name: t_interval(column) for name, column in columns.items()
        },
        n=len(values),
    )


def _add_differences(settings: list[dict], baseline: str | None) -> str | None:
    """Compare settings with the baseline, if it is among them."""
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


def figures_of(results: dict, setting: dict) -> dict:
    """``mean``, ``std``, ``interval``, ``n``, those of times included."""
    times = results['times'].get(setting['name'], {})
    return dict(
        mean={**setting['mean'], **times.get('mean', {})},
        std={**setting['std'], **times.get('std', {})},
        interval={**setting.get('interval', {}), **times.get('interval', {})},
        n=setting['n'],
    )


def _mean_landscape(found: list[dict]) -> dict:
    """Point by point; all with the same steps."""
    return {
        part: np.mean([one[part] for one in found], 0).tolist()
        for part in found[0]
    }


def _times(times: list[dict]) -> dict:
    found = over_seeds(
        [
            {name: one[name] for name in OF_TIMES if name in one}
            for one in times
        ]
    )
    for part in ('training', 'measuring'):
        found[part] = sum(one[part] for one in times)
    return found


def _missing(cells: Sequence[StudyCell], kept: CellStore) -> list[dict]:
    """Cells and test sets that are not there, and why.

    Cells with the same reason are told together.
    """
    found: dict[tuple, list[str]] = {}
    for cell in cells:
        one, state = kept.get(cell), kept.state(cell)
        if state == 'changed':
            reason = describe_changes(changes(one['depends'], cell.depends), 2)
            found.setdefault((state, reason), []).append(str(cell))
            continue
        if one is None or state in ('to do', 'started', 'running'):
            found.setdefault((state, None), []).append(str(cell))
            continue
        for part in ('failed', 'missing', 'unfitted'):
            for problem in one.get(part, []):
                key = f'{part}: {problem["name"]}', problem['reason']
                found.setdefault(key, []).append(str(cell))
    return [
        dict(state=state, reason=reason, cells=names)
        for (state, reason), names in found.items()
    ]


def _made_with(found: list[dict]) -> list[dict]:
    """Versions, commits and devices; several if cells differ in them."""
    made = []
    for one in found:
        this = dict(
            versions=one['versions'],
            commit=one['commit'],
            device=one['device'],
        )
        if this not in made:
            made.append(this)
    return made
