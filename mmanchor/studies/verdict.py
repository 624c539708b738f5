"""The rule by which a study recommends a setting for each task."""

import json
from collections.abc import Sequence
from pathlib import Path

from .metrics import lower_is_better

NONE = 'none'


def recommend(results: dict, others: Sequence[dict] = ()) -> dict[str, dict]:
    """Apply the rule to one study that was run on one or several grounds.

    For each task, the recommended setting is the one with the largest paired
    gain over the baseline whose 95 % interval excludes zero on the first
    ground and whose mean gain is not below zero on any other. A ground that
    could not measure the metric of a setting does not count against it.

    Args:
        results (dict): The content of ``results.json`` on the ground that
            decides.
        others (Sequence[dict]): The same study on other grounds. Defaults to
            none.

    Returns:
        dict: For each task: ``metric``; ``recommended``, a setting's name or
        ``'none'``; ``candidates``, the settings with a gain on the first
        ground, with their ``differences`` by ground and ``why_not`` (``''`` if
        nothing counts against them), the largest gain first.

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
            candidates=candidates,
        )
    return verdict


def _candidates(
    metric: str, results: dict, others: Sequence[dict]
) -> list[dict]:
    sign = -1 if lower_is_better(metric) else 1
    first = results['on']['name']
    candidates = []
    for setting in results['settings']:
        differences = {
            one['on']['name']: difference
            for one in (results, *others)
            if (difference := _difference(one, setting['name'], metric))
        }
        on_first = differences.get(first)
        if on_first is None or sign * on_first['mean'] <= 0:
            continue
        against = [
            f'worse on {ground}'
            for ground, one in differences.items()
            if ground != first and sign * one['mean'] < 0
        ]
        if on_first['interval'] is None:
            against.insert(0, f'one seed only on {first}')
        elif on_first['level']:
            against.insert(0, f'level on {first}')
        candidates.append(
            dict(
                name=setting['name'],
                differences=differences,
                why_not='; '.join(against),
            )
        )
    return sorted(
        candidates, key=lambda one: -sign * one['differences'][first]['mean']
    )


def _difference(results: dict, name: str, metric: str) -> dict | None:
    for setting in results['settings']:
        if setting['name'] == name:
            compared = setting.get('difference') or {}
            return compared.get('metrics', {}).get(metric)
    return None


def _check_keys(results: dict) -> None:
    """Raise if results lack something that the rule or the tables read."""
    settings = results['settings']
    names = [results['on']['name'], *(one['name'] for one in settings)]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f'Expected names, but got {names}.')
    for setting in settings:
        compared = setting.get('difference') or dict(metrics={})
        for difference in compared['metrics'].values():
            missing = {'mean', 'interval', 'level'} - set(difference)
            if missing:
                raise KeyError(*missing)


def read_others(folders: Sequence[str | Path], study: str) -> list[dict]:
    """Read the results of the same study in work dirs on other grounds.

    Raises:
        FileNotFoundError: A folder has no ``results.json``.
        ValueError: The file is damaged, or belongs to another study.
    """
    others = []
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
            _check_keys(results)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'Expected results of a study in {path}, but got a damaged '
                'file. Make it again with --report.'
            ) from error
        if name != study:
            raise ValueError(
                f'Expected results of {study} in {path}, but got those of '
                f'{name}. Change --beside.'
            )
        others.append(results)
    return others
