"""The page of a study: what to use for each job, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path

from ..suite.report.html import (
    Block,
    Page,
    Section,
    facts_block,
    figure_block,
    table_blocks,
)
from .metrics import find_metric, shown
from .results import figures_of
from .tables import (
    about,
    checkpoint_table,
    difference_table,
    study_table,
    told,
    with_interval,
)
from .verdict import NONE, recommend, verdict_table

COSTS = ('training_seconds', 'seconds')


def study_page(
    results: dict, figures: Sequence[Path], others: Sequence[dict] = ()
) -> Page:
    """Put the results of a study on one page.

    Args:
        results (dict): See ``results.json``.
        figures (Sequence[Path]): Files in SVG.
        others (Sequence[dict]): Results of the study on other grounds.
            Defaults to none.
    """
    missing = [told(one) for one in results['missing']]
    return Page(
        f'{results["title"]} ({results["on"]["title"]})',
        summary(results, others),
        [
            Section(
                'Recommended settings',
                table_blocks([verdict_table(results, others)]),
            ),
            Section(
                'Results',
                table_blocks([study_table(results, True)])
                + [
                    figure_block(path, _caption(path, results))
                    for path in figures
                ],
            ),
            Section('Differences', table_blocks([difference_table(results)])),
            Section(
                'Not there',
                [Block('list', content=dict(texts=missing))]
                if missing
                else [],
            ),
            Section(
                'How it was made',
                table_blocks([checkpoint_table(results)])
                + [facts_block('', list(about(results)))],
            ),
        ],
    )


def _caption(path: Path, results: dict) -> str:
    if path.stem.endswith('_differences'):
        return (
            f'Paired differences from {results["baseline"]}, with 95 % '
            'intervals over seeds.'
        )
    return results['title'] + '.'


def summary(results: dict, others: Sequence[dict] = ()) -> list[str]:
    """The recommended setting for each job, with intervals, and what it costs.

    Args:
        results (dict): See ``results.json``.
        others (Sequence[dict]): Results of the study on other grounds.
            Defaults to none.

    Returns:
        List[str]: A sentence each; none where the study has no jobs.
    """
    if not results.get('jobs'):
        return []
    ground, base = results['on']['name'], results['baseline']
    sentences, chosen = [], []
    for job, found in recommend(results, others).items():
        metric, best = found['metric'], found['recommended']
        title = find_metric(metric).title
        if best == NONE:
            text = f'For {job}, no setting is recommended over {base}'
            for one in found['candidates'][:1]:
                difference = with_interval(one['differences'][ground], metric)
                text += (
                    f': the closest, {one["name"]}, differs by {difference} '
                    f'in {title}, but is {one["why_not"]}'
                )
        else:
            one = found['candidates'][
                [one['name'] for one in found['candidates']].index(best)
            ]
            difference = with_interval(one['differences'][ground], metric)
            text = (
                f'For {job}, use {best}: it differs from {base} by '
                f'{difference} in {title}'
            )
            chosen.append(best)
        sentences.append(f'{text}.')
    for metric in COSTS:
        costs = [
            f'{one["name"]} {shown(value, metric)}'
            for one in results['settings']
            if one['name'] in (base, *chosen)
            and (value := figures_of(results, one)['mean'].get(metric))
            is not None
        ]
        if costs:
            sentences.append(
                f'Cost ({find_metric(metric).title}): {"; ".join(costs)}.'
            )
    return sentences
