"""The report of a study: its tables, CSV, Markdown and page.

``results`` is the content of ``results.json``. ``others`` are the results of
the same study on other grounds, on which recommended settings must hold too.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib import style
from rich.console import Console
from rich.markup import escape

from ..suite.figures.style import STYLE, save_figure_files
from ..suite.report.html import (
    Block,
    Page,
    Section,
    facts_block,
    figure_block,
    render,
    table_blocks,
)
from ..suite.report.summary import joined, quoted
from ..suite.report.table import Table, one_line, to_markdown, to_rich
from ..utils.files import whole_files
from .figures import difference_figure, study_figure
from .metrics import (
    find_metric,
    format_difference,
    format_value,
    metric_words,
)
from .results import with_times
from .spec import Plot
from .verdict import recommend

COST_METRICS = ('training_seconds', 'seconds')
# what a study without jobs is about
DEFAULT_JOBS = {
    'accuracy under corruption': 'corrupted',
    'accuracy': 'clean',
    'calibration': 'corrupted_ece',
}
# how a study is drawn, by the kind of its plot
CAPTIONS = dict(
    points='Large marks are means over seeds and bars their standard '
    'deviation; small dots are single seeds. Dotted: as published.',
    lines='Lines are means over seeds and bands their standard deviation. '
    'Dotted: as published.',
    landscape='Accuracy where weights are moved in two random directions; '
    'the cross is the trained model.',
)
CSV_HEADER = (
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


def write_study_report(
    results: dict, plot: Plot, folder: Path, others: Sequence[dict] = ()
) -> None:
    """Write ``results.json``, ``results.csv``, the report and the figures.

    Raises:
        ImportError: Jinja2 is not installed.
        ValueError: The folder can't be written to.
    """
    study = results['study']
    with style.context(['default', STYLE]), whole_files(folder) as partial:
        names = []
        for name, figure in (
            (study, study_figure(results, plot)),
            (f'{study}_differences', difference_figure(results, plot.metrics)),
        ):
            if figure is not None:
                save_figure_files(figure, partial, name)
                names.append(name)
        pngs = [f'{name}.png' for name in names]
        svgs = [partial / f'{name}.svg' for name in names]
        whole = json.dumps(results, indent=1, ensure_ascii=False)
        verdict = verdict_table(results, others)
        page = study_page(results, svgs, others, plot.kind)
        for name, text in (
            ('results.json', f'{whole}\n'),
            ('results.csv', csv_text(results)),
            ('report.md', markdown_study(results, pngs, verdict)),
            ('report.html', render(page)),
        ):
            (partial / name).write_text(text, encoding='utf-8')


def print_study_report(
    results: dict, folder: Path, console: Console, others: Sequence[dict] = ()
) -> None:
    """Print the tables, what is missing, and the folder of the report."""
    for table in (
        study_table(results),
        difference_table(results),
        verdict_table(results, others),
    ):
        if table is not None:
            for part in to_rich(table, console.width):
                console.print(part)
    for one in results['missing']:
        console.print(
            escape(f'Not there: {describe_missing(one)}'), soft_wrap=True
        )
    console.print(escape(f'Report: {folder / "report.html"}'), soft_wrap=True)


# tables


def study_table(results: dict, intervals: bool = False) -> Table:
    """Make a row for each setting: mean ± standard deviation over seeds.

    With ``intervals``, it has the confidence intervals of the means, for which
    terminals are too narrow.
    """
    settings = results['settings']
    summaries = [with_times(results, one) for one in settings]
    published = {name for one in settings for name in one['paper']}
    measured = {name for one in summaries for name in one['mean']}
    metrics = [
        name for name in results['metrics'] if name in measured | published
    ]
    header = ['setting', 'seeds']
    for name in metrics:
        header.append(find_metric(name).title)
        if name in published:
            header.append(f'{find_metric(name).title}, paper')
    rows = []
    for setting, summary in zip(settings, summaries):
        row = [setting['name'], str(summary['n'])]
        for name in metrics:
            mean, std, ends = (
                summary[part].get(name) for part in ('mean', 'std', 'interval')
            )
            text = format_value(mean, name)
            if std is not None:
                text += f' ± {format_value(std, name)}'
            if intervals and ends is not None:
                low, high = (format_value(end, name) for end in ends)
                text += f' [{low}, {high}]'
            row.append(text)
            if name in published:
                row.append(format_value(setting['paper'].get(name), name))
        rows.append(row)
    title = f'{results["title"]} ({results["on"]["title"]})'
    return Table(title, _caption(results), header, rows)


def _caption(results: dict) -> str:
    """What readers need to know, and on which images it was measured."""
    sentences = [results['caption']]
    if results.get('corruptions'):
        sentences.append(
            f'Corrupted: {results["shifted"]}, '
            f'{"; ".join(results["corruptions"])}.'
        )
    counts = [
        f'{name} {count:,}' + ' of each kind and severity' * (i > 0)
        for i, (name, count) in enumerate(results.get('images', {}).items())
    ]
    if counts:
        sentences.append(f'Images: {"; ".join(counts)}.')
    return ' '.join(sentences).strip()


def difference_table(results: dict) -> Table | None:
    """Make a row for each setting: its paired differences from the baseline.

    None if there is nothing to compare.
    """
    compared = [one for one in results['settings'] if one.get('difference')]
    differences = [one['difference']['metrics'] for one in compared]
    metrics = [
        name
        for name in results['metrics']
        if any(name in one for one in differences)
    ]
    if not metrics:
        return None
    rows = []
    for setting, values in zip(compared, differences):
        left_out = len(setting['difference']['left_out'])
        pairs = max((one['n'] for one in values.values()), default=0)
        row = [setting['name'], str(pairs)]
        if left_out:
            row[1] += f', {left_out} left out'
        row += [format_difference(values.get(name), name) for name in metrics]
        rows.append(row)
    caption = [
        'Mean over seeds of the difference from the same seed of the '
        'baseline [95 % t-interval]; level: the interval holds zero.'
    ]
    if any(one[name]['n'] == 1 for one in differences for name in one):
        caption.append('Of one seed there is no interval.')
    if any(one['difference']['left_out'] for one in compared):
        caption.append('Seeds that only one of the two has are left out.')
    return Table(
        f'Paired difference from {results["baseline"]}',
        ' '.join(caption),
        ['setting', 'pairs', *(find_metric(name).title for name in metrics)],
        rows,
    )


def verdict_table(results: dict, others: Sequence[dict] = ()) -> Table | None:
    """Make a row for each task: the recommended setting and its gain.

    None if the study has no ``jobs``.
    """
    if not results.get('jobs'):
        return None
    grounds = [one['on']['name'] for one in (results, *others)]
    rows = []
    for job, verdict in recommend(results, others).items():
        name, metric = verdict['recommended'], verdict['metric']
        best = _candidate(verdict, name)
        row = [job, find_metric(metric).title, name]
        if best is None and verdict['candidates']:
            closest = verdict['candidates'][0]
            row[2] += f' (closest: {closest["name"]}, {closest["why_not"]})'
        differences = best['differences'] if best else {}
        row += [
            format_difference(differences.get(ground), metric)
            for ground in grounds
        ]
        rows.append(row)
    header = ['task', 'metric', 'recommended']
    return Table(
        'Recommended setting for each task',
        f'Largest paired gain over {results["baseline"]} whose interval '
        f'excludes zero on {grounds[0]} and whose mean is not worse on '
        'another ground; a dash where the metric could not be measured.',
        header + [f'difference, {ground}' for ground in grounds],
        rows,
        len(header),
    )


def _candidate(of_job: dict, name: str) -> dict | None:
    """The candidate of a name in one task of a verdict."""
    return next(
        (one for one in of_job['candidates'] if one['name'] == name), None
    )


def study_checkpoint_table(results: dict) -> Table | None:
    """Make a row for each trained model, with the checksum of its weights.

    None if no checksum is known.
    """
    rows = [
        [str(one[key]) for key in ('setting', 'seed', 'trained', 'weights')]
        for one in results.get('checkpoints', ())
        if one['weights']
    ]
    header = ['setting', 'seed', 'trained in', 'SHA-256 of its weights']
    return Table('Checkpoints', '', header, rows, 4) if rows else None


def csv_text(results: dict) -> str:
    """Write a line for each setting and metric.

    ``seeds`` holds the value of each seed, as ``0:90.1 1:90.4``; ``low`` and
    ``high`` are the ends of the interval of ``difference``, over ``pairs``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(CSV_HEADER)
    for setting in results['settings']:
        summary = with_times(results, setting)
        differences = (setting.get('difference') or {}).get('metrics', {})
        for metric, value in summary['mean'].items():
            seeds = ' '.join(
                f'{seed}:{values[metric]}'
                for seed, values in setting['seeds'].items()
                if metric in values
            )
            paired = differences.get(metric) or {}
            writer.writerow(
                [
                    setting['name'],
                    setting['series'],
                    setting['x'],
                    metric,
                    value,
                    summary['std'][metric],
                    summary['n'],
                    setting['paper'].get(metric),
                    seeds,
                    paired.get('mean'),
                    *(paired.get('interval') or (None, None)),
                    paired.get('n'),
                    *(summary['interval'].get(metric) or (None, None)),
                ]
            )
    return text.getvalue()


# Markdown and HTML


def markdown_study(
    results: dict, figures: list[str], verdict: Table | None = None
) -> str:
    """Write the tables, the figures and what they depend on, in Markdown.

    ``figures`` are PNG files, as links.
    """
    parts = [to_markdown(study_table(results, True)).replace('## ', '# ', 1)]
    for table in (difference_table(results), verdict):
        if table is not None:
            parts.append(to_markdown(table))
    parts += [
        f'![{results["title"]}]({figure})\n\n[PDF]({figure[:-3]}pdf)'
        for figure in figures
    ]
    if results['missing']:
        lines = [f'- {describe_missing(one)}' for one in results['missing']]
        parts.append('\n'.join(['## Not there', '', *lines]))
    checkpoints = study_checkpoint_table(results)
    if checkpoints is not None:
        parts.append(to_markdown(checkpoints))
    lines = [f'- {key}: {one_line(text)}' for key, text in _facts(results)]
    parts.append('\n'.join(['## Conventions and versions', '', *lines]))
    return '\n\n'.join(parts) + '\n'


def study_page(
    results: dict,
    figures: Sequence[Path],
    others: Sequence[dict] = (),
    kind: str = 'points',
) -> Page:
    """Put the results of a study, with figures in SVG files, on one page."""
    title = results['title'].rstrip('.')
    title += ' ' if title.endswith('?') else '. '
    captions = {
        f'{results["study"]}_differences': 'Paired differences from '
        f'{results["baseline"]}, mean over seeds; the bars are 95 % '
        'intervals. Filled: the interval does not hold zero.'
    }
    drawn = [
        figure_block(path, captions.get(path.stem, title + CAPTIONS[kind]))
        for path in figures
    ]
    missing = [describe_missing(one) for one in results['missing']]
    sections = {
        'Recommended settings': table_blocks([verdict_table(results, others)]),
        'Results': table_blocks([study_table(results, True)]) + drawn,
        'Differences': table_blocks([difference_table(results)]),
        'Not there': [Block('list', texts=missing)] if missing else [],
        'How it was made': table_blocks([study_checkpoint_table(results)])
        + [facts_block('', list(_facts(results)))],
    }
    return Page(
        f'{results["title"]} ({results["on"]["title"]})',
        summary_sentences(results, others),
        [Section(title, blocks) for title, blocks in sections.items()],
    )


def summary_sentences(results: dict, others: Sequence[dict] = ()) -> list[str]:
    """Answer in three sentences which setting to take, why and how sure it is.

    Returns:
        List[str]: The settings that are better than the baseline, with
        intervals; the tasks for which none is; and costs. A study without
        ``jobs`` is taken to be about accuracy and calibration. One setting
        alone is described.
    """
    jobs = results.get('jobs') or {
        job: metric
        for job, metric in DEFAULT_JOBS.items()
        if any(metric in one['mean'] for one in results['settings'])
    }
    base = results.get('baseline')
    if len(results['settings']) == 1:
        return _description(results, results['settings'][0], jobs)
    if base is None or not jobs:
        return []
    ground = results['on']['name']
    chosen: dict[str, dict[str, str]] = {}  # changes by setting and job
    keeps: list[str] = []
    for job, verdict in recommend(dict(results, jobs=jobs), others).items():
        name, metric = verdict['recommended'], verdict['metric']
        best = _candidate(verdict, name)
        if best is not None:
            difference = best['differences'][ground]
            chosen.setdefault(name, {})[job] = _change(
                difference, metric, not chosen
            )
            continue
        text = f'for {job}, no setting is better than {quoted(base)}'
        for one in verdict['candidates'][:1]:
            first = not chosen and not keeps
            change = _change(one['differences'][ground], metric, first)
            text += (
                f' beyond chance: the closest, {quoted(one["name"])}, '
                f'{change}, but is {one["why_not"]}'
            )
        keeps.append(text)
    takes = [
        f'take {quoted(name)} for {joined(list(changes))}: compared with '
        f'{quoted(base)}, it {joined(list(changes.values()))}'
        for name, changes in chosen.items()
    ]
    cost = _costs(results, list(dict.fromkeys((base, *chosen))))
    sentences = ['; '.join(takes), '; '.join(keeps), cost]
    return [f'{one[0].upper()}{one[1:]}.' for one in sentences if one]


def _change(difference: dict, metric: str, first: bool) -> str:
    """Say by how much a setting raises or lowers a metric.

    The first change also says what the interval is.
    """
    mean, interval = difference['mean'], difference['interval']
    points = ' points' if '(%)' in find_metric(metric).title else ''
    text = (
        f'{"raises" if mean > 0 else "lowers"} {metric_words(metric)} by '
        f'{format_value(abs(mean), metric)}{points}'
    )
    words = '95 % interval over seeds: ' if first else ''
    if difference['level']:  # the ends have different signs
        words += 'difference from '
    elif interval is not None:
        interval = sorted(map(abs, interval))
    return text + _in_brackets(interval, metric, words)


def _in_brackets(
    interval: Sequence[float] | None, metric: str, words: str
) -> str:
    """Write an interval after its value; nothing if there is none."""
    if interval is None:
        return ''
    low, high = (format_value(end, metric) for end in interval)
    return f' ({words}{low} to {high})'


def _costs(results: dict, names: Sequence[str]) -> str:
    """The times of some settings, with their intervals over seeds."""
    parts = []
    for metric in COST_METRICS:
        costs = []
        for one in results['settings']:
            summary = with_times(results, one)
            value = summary['mean'].get(metric)
            if one['name'] not in names or value is None:
                continue
            text = f'{quoted(one["name"])} '
            text += '' if costs else 'takes '
            text += format_value(value, metric)
            text += '' if costs else f' {find_metric(metric).title}'
            words = '' if parts or costs else '95 % interval '
            interval = summary['interval'].get(metric)
            costs.append(text + _in_brackets(interval, metric, words))
        if costs:
            parts.append(joined(costs))
    return '; '.join(parts)


def _description(
    results: dict, setting: dict, jobs: dict[str, str]
) -> list[str]:
    """Describe one setting alone."""
    summary = with_times(results, setting)
    values = []
    for metric in dict.fromkeys((*jobs.values(), *results['metrics'])):
        if metric in summary['mean'] and metric not in COST_METRICS:
            text = format_value(summary['mean'][metric], metric)
            words = '' if values else '95 % interval over seeds: '
            text += _in_brackets(
                summary['interval'].get(metric), metric, words
            )
            values.append(f'{find_metric(metric).title} {text}')
    sentences = [
        f'{quoted(setting["name"])} has {joined(values[:3])}'
        if values
        else '',
        _costs(results, [setting['name']]),
    ]
    return [f'{one}.' for one in sentences if one]


def describe_missing(missing: dict) -> str:
    """Say in a line what is missing, and why; name three of the cells.

    Example:
        >>> describe_missing(
        ...     dict(state='to do', reason=None, cells=['a, seed 0'])
        ... )
        'to do: a, seed 0'
    """
    names = missing['cells']
    cells = '; '.join(names[:3])
    if len(names) > 3:
        cells += f' and {len(names) - 3} more cells'
    reason = missing['reason'] and f'. {one_line(missing["reason"])}'
    return f'{missing["state"]}: {cells}{reason or ""}'


def _facts(results: dict) -> Iterator[tuple[str, object]]:
    """Conventions, command, commits, devices and versions, by name."""
    yield from results['conventions'].items()
    if results.get('command'):
        yield 'command', f'`{results["command"]}`'
    made = results['made_with']
    if len(made) > 1:
        text = 'different sets of versions, commits and devices: not all cells'
        yield 'made with', f'{len(made)} {text} are from one'
    for one in made:
        yield 'commit', one['commit']
        yield 'device', one['device']
        used = [f'{name} {number}' for name, number in one['versions'].items()]
        yield 'versions', ', '.join(used)
