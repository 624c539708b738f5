"""The table of a study, for the terminal, Markdown and CSV."""

import csv
import io
from collections.abc import Iterator

from ..suite.report.markdown import one_line
from ..suite.report.table import Table, to_markdown
from .metrics import find_metric, shown
from .results import figures_of


def study_table(results: dict, intervals: bool = False) -> Table:
    """A row for each setting: mean ± standard deviation over seeds.

    Args:
        results (dict): See ``results.json``.
        intervals (bool): Whether to show confidence intervals of the means,
            for which terminals are too narrow. Defaults to False.
    """
    metrics = _with_values(results)
    published = [
        name
        for name in metrics
        if any(name in one['paper'] for one in results['settings'])
    ]
    header = ['setting', 'seeds']
    for name in metrics:
        header.append(find_metric(name).title)
        if name in published:
            header.append(f'{find_metric(name).title}, paper')
    rows = []
    for setting in results['settings']:
        found = figures_of(results, setting)
        row = [setting['name'], str(found['n'])]
        for name in metrics:
            text = plus_minus(
                found['mean'].get(name), found['std'].get(name), name
            )
            ends = found['interval'].get(name) if intervals else None
            if ends is not None:
                low, high = (shown(end, name) for end in ends)
                text += f' [{low}, {high}]'
            row.append(text)
            if name in published:
                row.append(shown(setting['paper'].get(name), name))
        rows.append(row)
    title = f'{results["title"]} ({results["on"]["title"]})'
    caption = results['caption']
    if results.get('corruptions'):
        caption = (
            f'{caption} Corrupted: {results["shifted"]}, '
            f'{"; ".join(results["corruptions"])}.'
        ).strip()
    counts = [
        f'{name} {count:,}' + ' of each kind and severity' * (i > 0)
        for i, (name, count) in enumerate(results.get('images', {}).items())
    ]
    if counts:
        caption = f'{caption} Images: {"; ".join(counts)}.'.strip()
    return Table(title, caption, header, rows)


def plus_minus(value: float | None, std: float | None, metric: str) -> str:
    """Mean ± standard deviation, as far as they are there.

    Example:
        >>> plus_minus(53.494, 0.38, 'clean'), plus_minus(0.031, None, 'ece')
        ('53.5 ± 0.4', '0.031')
    """
    text = shown(value, metric)
    return text if std is None else f'{text} ± {shown(std, metric)}'


def difference_table(results: dict) -> Table | None:
    """A row for each setting but the baseline: differences from it.

    Args:
        results (dict): See ``results.json``.

    Returns:
        Table | None: None where there is nothing to compare.
    """
    compared = [one for one in results['settings'] if one.get('difference')]
    found = [one['difference']['metrics'] for one in compared]
    metrics = [
        name
        for name in results['metrics']
        if any(name in one for one in found)
    ]
    if not metrics:
        return None
    rows = []
    for setting, values in zip(compared, found):
        left_out = len(setting['difference']['left_out'])
        pairs = max((one['n'] for one in values.values()), default=0)
        rows.append(
            [
                setting['name'],
                f'{pairs}, {left_out} left out' if left_out else str(pairs),
                *(with_interval(values.get(name), name) for name in metrics),
            ]
        )
    caption = [
        'Mean over seeds of the difference from the same seed of the '
        'baseline [95 % t-interval]; level: the interval holds zero.'
    ]
    if any(one[name]['n'] == 1 for one in found for name in one):
        caption.append('Of one seed there is no interval.')
    if any(one['difference']['left_out'] for one in compared):
        caption.append('Seeds that only one of the two has are left out.')
    return Table(
        f'Paired difference from {results["baseline"]}',
        ' '.join(caption),
        ['setting', 'pairs', *(find_metric(name).title for name in metrics)],
        rows,
    )


def with_interval(difference: dict | None, metric: str) -> str:
    """A difference to read, with its interval and whether that holds zero.

    Example:
        >>> found = dict(mean=1.24, interval=[-0.31, 2.79], n=3, level=True)
        >>> with_interval(found, 'clean')
        '+1.2 [-0.3, +2.8] level'
        >>> with_interval(dict(found, interval=None, level=None), 'clean')
        '+1.2'
    """
    if difference is None:
        return '–'

    def text(value):
        digits = f'{value:+.{find_metric(metric).digits}f}'
        return digits.replace('-', '+') if not digits.strip('-0.') else digits

    found = text(difference['mean'])
    if difference['interval'] is not None:
        low, high = map(text, difference['interval'])
        found += f' [{low}, {high}]'
    return f'{found} level' if difference['level'] else found


def csv_text(results: dict) -> str:
    """Lines of a setting's figure, its seeds and its paired difference.

    ``seeds`` has the figure of each seed, as ``0:90.1 1:90.4``; ``low`` and
    ``high`` are the ends of the interval of ``difference``, over ``pairs``.

    Args:
        results (dict): See ``results.json``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(
        (
            'setting',
            'series',
            'x',
            'metric',
            'mean',
            'std',
            'n',
            'paper',
            'seeds',
            'difference',
            'low',
            'high',
            'pairs',
            'mean_low',
            'mean_high',
        )
    )
    for setting in results['settings']:
        found = figures_of(results, setting)
        for metric, value in found['mean'].items():
            seeds = ' '.join(
                f'{seed}:{one[metric]}'
                for seed, one in setting['seeds'].items()
                if metric in one
            )
            compared = (
                (setting.get('difference') or {})
                .get('metrics', {})
                .get(metric)
            )
            paired = (
                [None] * 4
                if compared is None
                else [
                    compared['mean'],
                    *(compared['interval'] or (None, None)),
                    compared['n'],
                ]
            )
            writer.writerow(
                [
                    setting['name'],
                    setting['series'],
                    setting['x'],
                    metric,
                    value,
                    found['std'][metric],
                    found['n'],
                    setting['paper'].get(metric),
                    seeds,
                    *paired,
                    *(found['interval'].get(metric) or (None, None)),
                ]
            )
    return text.getvalue()


def markdown_report(
    results: dict, figures: list[str], verdict: Table | None = None
) -> str:
    """The table, the figures and what they depend on.

    Args:
        results (dict): See ``results.json``.
        figures (List[str]): PNG files, as links.
        verdict (Table, optional): Recommended settings. Defaults to None.
    """
    parts = [to_markdown(study_table(results, True)).replace('## ', '# ', 1)]
    differences = difference_table(results)
    if differences is not None:
        parts.append(to_markdown(differences))
    if verdict is not None:
        parts.append(to_markdown(verdict))
    parts += [
        f'![{results["title"]}]({figure})\n\n[PDF]({figure[:-3]}pdf)'
        for figure in figures
    ]
    if results['missing']:
        lines = [f'- {told(one)}' for one in results['missing']]
        parts.append('\n'.join(['## Not there', '', *lines]))
    checkpoints = checkpoint_table(results)
    if checkpoints is not None:
        parts.append(to_markdown(checkpoints))
    lines = [f'- {key}: {one_line(text)}' for key, text in about(results)]
    parts.append('\n'.join(['## Conventions and versions', '', *lines]))
    return '\n\n'.join(parts) + '\n'


def told(missing: dict, at_most: int = 3) -> str:
    """What is not there, in a line.

    Example:
        >>> told(dict(state='to do', reason=None, cells=['a, seed 0']))
        'to do: a, seed 0'
    """
    names = missing['cells']
    cells = '; '.join(names[:at_most])
    if len(names) > at_most:
        cells += f' and {len(names) - at_most} more cells'
    reason = missing['reason'] and f'. {one_line(missing["reason"])}'
    return f'{missing["state"]}: {cells}{reason or ""}'


def checkpoint_table(results: dict) -> Table | None:
    """A row for each model that was trained, with its checksum.

    Args:
        results (dict): See ``results.json``.

    Returns:
        Table | None: None where no checksum is known.
    """
    rows = [
        [
            one['setting'],
            str(one['seed']),
            str(one['trained']),
            str(one['weights']),
        ]
        for one in results.get('checkpoints', ())
        if one['weights']
    ]
    header = ['setting', 'seed', 'trained in', 'SHA-256 of its weights']
    return Table('Checkpoints', '', header, rows, 4) if rows else None


def about(results: dict) -> Iterator[tuple[str, object]]:
    """Conventions, command, commits, devices and versions, by name."""
    yield from results['conventions'].items()
    if results.get('command'):
        yield 'command', f'`{results["command"]}`'
    made = results['made_with']
    if len(made) > 1:
        yield (
            'made with',
            (
                f'{len(made)} different sets of versions, commits '
                'and devices: not all cells are from one'
            ),
        )
    for one in made:
        yield 'commit', one['commit']
        yield 'device', one['device']
        yield (
            'versions',
            ', '.join(
                f'{name} {version}'
                for name, version in one['versions'].items()
            ),
        )


def _with_values(results: dict) -> list[str]:
    """Metrics that any setting has."""
    return [
        name
        for name in results['metrics']
        if any(
            name in figures_of(results, one)['mean'] or name in one['paper']
            for one in results['settings']
        )
    ]
