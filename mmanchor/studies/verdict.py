"""Which setting of a study to recommend for each job, by a fixed rule."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..suite.report.table import Table
from .metrics import find_metric, lower_is_better
from .tables import with_interval

NONE = 'none'


def recommend(results: dict, others: Sequence[dict] = ()) -> dict[str, dict]:
    """Apply the rule to one study, made on one ground or on several.

    For each job, the recommended setting is the one with the largest paired
    gain over the baseline whose 95 % interval excludes zero on the first
    ground and whose mean gain is not below zero on any other. A ground that
    could not measure the metric of a setting does not speak against it; the
    verdict names such grounds.

    Args:
        results (dict): What ``results.json`` has, on the ground that decides.
        others (Sequence[dict]): The same study on other grounds. Defaults to
            none.

    Returns:
        dict: Of each job ``metric``, ``recommended`` (a setting's name or
        ``'none'``), ``unmeasured`` (grounds that could not speak) and
        ``candidates``: of each setting with a gain on the first ground its
        ``differences`` by ground and ``why_not`` (``''`` where nothing
        speaks against it), the largest gain first.

    Example:
        >>> level = dict(mean=1.0, interval=[-1.0, 3.0], n=5, level=True)
        >>> results = dict(
        ...     on=dict(name='digits'),
        ...     jobs={'accuracy': 'clean'},
        ...     settings=[
        ...         dict(name='a', difference=dict(metrics=dict(clean=level)))
        ...     ],
        ... )
        >>> found = recommend(results)['accuracy']
        >>> found['recommended'], found['candidates'][0]['why_not']
        ('none', 'level on digits')
    """
    verdict = {}
    for job, metric in results['jobs'].items():
        candidates = _candidates(metric, results, others)
        best = next((one for one in candidates if not one['why_not']), None)
        verdict[job] = dict(
            metric=metric,
            recommended=best['name'] if best else NONE,
            unmeasured=[
                other['on']['name']
                for other in others
                if best and other['on']['name'] not in best['differences']
            ],
            candidates=candidates,
        )
    return verdict


def _candidates(
    metric: str, results: dict, others: Sequence[dict]
) -> list[dict]:
    sign = -1 if lower_is_better(metric) else 1
    first = results['on']['name']
    found = []
    for setting in results['settings']:
        differences = {
            one['on']['name']: difference
            for one in (results, *others)
            if (difference := _difference(one, setting['name'], metric))
        }
        here = differences.get(first)
        if here is None or sign * here['mean'] <= 0:
            continue
        against = [
            f'worse on {ground}'
            for ground, one in differences.items()
            if ground != first and sign * one['mean'] < 0
        ]
        if here['interval'] is None:
            against.insert(0, f'one seed only on {first}')
        elif here['level']:
            against.insert(0, f'level on {first}')
        found.append(
            dict(
                name=setting['name'],
                differences=differences,
                why_not='; '.join(against),
            )
        )
    return sorted(
        found, key=lambda one: -sign * one['differences'][first]['mean']
    )


def _difference(results: dict, name: str, metric: str) -> dict | None:
    for setting in results['settings']:
        if setting['name'] == name:
            compared = setting.get('difference') or {}
            return compared.get('metrics', {}).get(metric)
    return None


def verdict_table(results: dict, others: Sequence[dict] = ()) -> Table | None:
    """A row for each job: the recommended setting and its gain by ground.

    Args:
        results (dict): See ``results.json``.
        others (Sequence[dict]): Of the same study on other grounds.

    Returns:
        Table | None: None where the study has no jobs.
    """
    if not results.get('jobs'):
        return None
    grounds = [one['on']['name'] for one in (results, *others)]
    rows = []
    for job, found in recommend(results, others).items():
        best = found['recommended']
        chosen = next(
            (one for one in found['candidates'] if one['name'] == best), None
        )
        closest = found['candidates'][:1] if chosen is None else []
        rows.append(
            [
                job,
                find_metric(found['metric']).title,
                best
                if not closest
                else f'{best} (closest: {closest[0]["name"]}, '
                f'{closest[0]["why_not"]})',
                *(
                    with_interval(
                        (chosen or {}).get('differences', {}).get(ground),
                        found['metric'],
                    )
                    for ground in grounds
                ),
            ]
        )
    return Table(
        'Recommended setting for each job',
        f'Largest paired gain over {results["baseline"]} whose interval '
        f'excludes zero on {grounds[0]} and whose mean is not worse on '
        'another ground; a dash where the metric could not be measured.',
        [
            'job',
            'metric',
            'recommended',
            *(f'difference, {g}' for g in grounds),
        ],
        rows,
    )


def read_others(folders: Sequence[str | Path], study: str) -> list[dict]:
    """Results of the same study on other grounds.

    Args:
        folders (Sequence[str | Path]): Work dirs with a ``results.json``.
        study (str): The study's name.

    Raises:
        FileNotFoundError: A folder has no ``results.json``.
        ValueError: It is not readable, or another study's.
    """
    found = []
    for folder in folders:
        path = Path(folder).expanduser() / 'results.json'
        if not path.is_file():
            raise FileNotFoundError(
                f'Expected {path}, which --report writes, but there is no '
                f'such file. Make it with `tools/study.py {study} --on '
                f'GROUND --work-dir {folder} --report`, or drop --beside.'
            )
        try:
            results = json.loads(path.read_text(encoding='utf-8'))
            name = results['study']
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'Expected results of a study in {path}, but got a damaged '
                'file. Make it again with --report.'
            ) from error
        if name != study:
            raise ValueError(
                f'Expected results of {study} in {path}, but got those of '
                f'{name}. Change --beside.'
            )
        found.append(results)
    return found


def check_jobs(jobs: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise if a job of a study is judged by an unknown metric."""
    for job, metric in jobs.items():
        if metric not in known:
            raise ValueError(
                f'Expected the metric of the job {job!r} to be among '
                f'{", ".join(known)}, but got {metric!r}. Change `jobs`.'
            )
