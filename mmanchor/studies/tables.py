"""The table of a study, for the terminal, Markdown and CSV."""
import csv
import io
from typing import List, Optional

from ..evaluation.report.markdown import one_line
from ..evaluation.report.table import Table, to_markdown
from .metrics import find_metric, shown
from .results import figures_of


def study_table(results: dict) -> Table:
    """A row for each setting: mean ± standard deviation over seeds.

    Args:
        results (dict): See ``results.json``.
    """
    metrics = _with_values(results)
    published = [
        name for name in metrics
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
            row.append(
                plus_minus(found['mean'].get(name), found['std'].get(name),
                           name))
            if name in published:
                row.append(shown(setting['paper'].get(name), name))
        rows.append(row)
    title = f'{results["title"]} ({results["on"]["title"]})'
    return Table(title, results['caption'], header, rows)


def plus_minus(value: Optional[float], std: Optional[float],
               metric: str) -> str:
    """Mean ± standard deviation, as far as they are there.

    Example:
        >>> plus_minus(53.494, .38, 'clean'), plus_minus(.031, None, 'ece')
        ('53.5 ± 0.4', '0.031')
    """
    text = shown(value, metric)
    return text if std is None else f'{text} ± {shown(std, metric)}'


def csv_text(results: dict) -> str:
    """Lines of ``setting, series, x, metric, mean, std, n, paper, seeds``.

    ``seeds`` has the figure of each seed, as ``0:90.1 1:90.4``.

    Args:
        results (dict): See ``results.json``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('setting', 'series', 'x', 'metric', 'mean', 'std', 'n',
                     'paper', 'seeds'))
    for setting in results['settings']:
        found = figures_of(results, setting)
        for metric, value in found['mean'].items():
            seeds = ' '.join(f'{seed}:{one[metric]}'
                             for seed, one in setting['seeds'].items()
                             if metric in one)
            writer.writerow([
                setting['name'], setting['series'], setting['x'], metric,
                value, found['std'][metric], found['n'],
                setting['paper'].get(metric), seeds
            ])
    return text.getvalue()


def markdown_report(results: dict, figures: List[str]) -> str:
    """The table, the figures and what they depend on.

    Args:
        results (dict): See ``results.json``.
        figures (List[str]): PNG files, as links.
    """
    parts = [to_markdown(study_table(results)).replace('## ', '# ', 1)]
    parts += [
        f'![{results["title"]}]({figure})\n\n[PDF]({figure[:-3]}pdf)'
        for figure in figures
    ]
    if results['missing']:
        lines = [f'- {told(one)}' for one in results['missing']]
        parts.append('\n'.join(['## Not there', '', *lines]))
    lines = [f'- {key}: {one_line(text)}' for key, text in _about(results)]
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


def _about(results: dict):
    yield from results['conventions'].items()
    made = results['made_with']
    if len(made) > 1:
        yield 'made with', (f'{len(made)} different sets of versions, commits '
                            'and devices: not all cells are from one')
    for one in made:
        yield 'commit', one['commit']
        yield 'versions', ', '.join(
            f'{name} {version}' for name, version in one['versions'].items())


def _with_values(results: dict) -> List[str]:
    """Metrics that any setting has."""
    return [
        name for name in results['metrics'] if any(
            name in figures_of(results, one)['mean'] or name in one['paper']
            for one in results['settings'])
    ]
