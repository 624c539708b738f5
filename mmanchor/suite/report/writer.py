"""Writes a suite's report: JSON, CSV, Markdown, an HTML page and figures."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from matplotlib import style
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape

from ...utils.files import whole_files
from ...utils.provenance import (
    command_line,
    commit,
    device_name,
    versions,
    without_folders,
)
from ..comparisons import ImageAnswers
from ..corrupted_sets import SEED, describe_corruptions
from ..figures.accuracy import heat_map, severity_figure
from ..figures.ood import ood_figure
from ..figures.reliability import reliability_figures
from ..figures.spread import spread_figure
from ..figures.style import METADATA, STYLE, save_figure_files
from ..measure import NUM_BINS
from ..results import SuiteResults
from ..runner import Outcome
from ..spec import Settings, Suite
from .conventions import conventions
from .html import render
from .page import CAPTIONS, Answers, failures, run_facts, suite_page
from .pictures import Pictures
from .table import one_line, to_markdown
from .tables import (
    all_tables,
    checkpoint_table,
    kind_tables,
    terminal_tables,
)

CONVENTIONS = dict(
    accuracy='top1: % of images whose first choice is right; of sets with '
    'fewer classes (ImageNet-R, -A) these alone compete',
    means='of a corrupted set: mean over kinds at each severity, then over '
    'severities',
    corruptions='settings: how strong severities are, by the published set '
    'whose numbers they have; images: how many of the clean ones are '
    'corrupted, null for all',
    calibration=f'top label, of whole sets: ece (L1), rmsce (L2), mce (max) '
    f'with {NUM_BINS} bins of equal width; smooth_ece (smECE) without; over '
    'sets: mean and sample standard deviation',
    ece_of_corrupted_sets='"mean over sets" is the mean of the errors of each '
    'kind and severity; "pooled" (ece_pooled) is the error of all their '
    'images together, as in reliability diagrams',
    intervals='in brackets, and as _low and _high: 95 % confidence intervals '
    'over images, each by itself; accuracy: Wilson; nll, brier, spread, '
    'mean_used, sizes of sets: normal; coverage of sets, trusted: Wilson; '
    'auroc: DeLong; of means over kinds and severities: '
    'the means of the ends, which is wide enough although the images are the '
    'same in all of them. Calibration errors, aurc, aupr and fpr95 have none: '
    'their estimates are biased, and resampling adds to the bias. Seeds of '
    'training are not in them',
    likelihood='nll in nats; brier: sum over classes, in [0, 2]',
    selective='aurc: mean error rate of the n most confident images; '
    'excess_aurc: less that of the best order',
    anomalies='images out of distribution are positive, larger scores more '
    'anomalous; aupr in steps; fpr95: of images in distribution, at 95 % of '
    'those out found',
    near_and_far='ood_means: of sets out of distribution that a suite puts in '
    'a group (near: other classes of the same kind of images; far: other '
    'kinds), the mean of each figure over the sets that are there',
    fitted_scores='KNN, ViM, Mahalanobis, ReAct: fitted on features of '
    'fit_share of the training images; of anchored models, features averaged '
    'over references',
    reverse_anchoring='negative log-likelihood of the classes that the model '
    'predicts for its references (they have no labels), each seen relative to '
    'the test image: the largest, or the mean',
    prediction_sets='aps and raps, fitted on the held-out clean images: '
    '_coverage: share of images whose set holds the label; _size: mean number '
    'of classes in a set. No random number is drawn: the likeliest class is '
    'always in the set',
    abstention='trusted: share of images whose confidence is at least the '
    'threshold, which was found on the held-out clean images; trusted_wrong: '
    'share of images that are trusted and wrong; their ratio is the error of '
    'trusted answers',
    spread='standard deviation of logits over references (population), mean '
    'over classes and images',
    ensembles='probabilities averaged over members; temperatures divide the '
    'logarithm of that mean; scores from logits (energy): of mean logits',
    references='logits averaged over references unless `average` says '
    'otherwise; temperatures divide that average',
    mce_alexnet="errors over AlexNet's, mean over 15 kinds, in %",
)


def assemble(suite: Suite, outcome: Outcome, settings: Settings) -> dict:
    """The content of ``results.json``, except for ``times``."""
    asked = dict(coverage=settings.coverage, max_error=settings.max_error)
    return dict(
        suite=dict(name=suite.name, title=suite.title),
        command=command_line(),
        settings=dict(
            batch_size=settings.batch_size,
            device=device_name(settings.device),
            amp=settings.amp,
            scores=list(settings.scores),
            fit_share=settings.fit_share,
            **{
                key: value for key, value in asked.items() if value is not None
            },
        ),
        seeds=dict(corruptions=SEED, held_out=suite.held_out.seed),
        corruptions=describe_corruptions(suite),
        conventions=CONVENTIONS,
        versions=versions(),
        commit=commit(),
        models=outcome.models,
        missing=outcome.missing,
        failed=outcome.failed,
    )


def write_report(
    content: dict,
    out: Path,
    pictures: Pictures | None = None,
    answers: Answers | None = None,
    compared: Mapping[str, ImageAnswers] | None = None,
) -> None:
    """Write the JSON and CSV files, both reports and the figures.

    Args:
        content (dict): The content of ``results.json``.
        out (Path): The folder.
        pictures (Pictures, optional): Images for ``report.html``. Defaults to
            None: the page has no images.
        answers (Dict[str, dict], optional): The predictions of each model for
            the clean images, for ``report.html``. Defaults to None.
        compared (Mapping[str, ImageAnswers], optional): What each model
            answered to each image, for the intervals of differences in
            ``report.html``. Defaults to None.

    Raises:
        ImportError: Jinja2 or pandas is not installed.
        OSError: The disk is full.
        ValueError: The folder can't be written to.
    """
    results = SuiteResults(_without_folders(content))
    try:
        figures = draw_all(results, out / 'figures')
        texts = {
            'results.json': json.dumps(
                results.content, indent=1, ensure_ascii=False
            )
            + '\n',
            'results.csv': results.to_csv(),
            'report.md': markdown_report(results, figures, out),
            'report.html': render(
                suite_page(results, figures, pictures, answers, compared)
            ),
        }
        with whole_files(out) as partial:
            for name, text in texts.items():
                (partial / name).write_text(text, encoding='utf-8')
    except OSError as error:
        raise OSError(
            f'Expected room for the report in {out}, but got: '
            f'{error.strerror or error}. Make room, and run the same command '
            'again: no measurement is repeated.'
        ) from error


def _without_folders(content: dict) -> dict:
    """Remove this machine's folders from the reasons of failures."""
    roots = {f'{os.getcwd()}/': '', str(Path.home()): '…'}
    return dict(
        content,
        **{
            part: [
                dict(one, reason=without_folders(one['reason'], roots))
                for one in content[part]
            ]
            for part in ('missing', 'failed')
        },
    )


def print_report(content: dict, out: Path, console: Console) -> None:
    """Print the tables, and the sets that are missing or failed."""
    for table in terminal_tables(SuiteResults(content), console.width):
        console.print(table)
    for one in content['missing']:
        console.print(escape(f'Not there: {one["name"]}. {one["reason"]}'))
    for one in content['failed']:
        text = f'{one["model"] or "all"}, {one["name"]}. {one["reason"]}'
        console.print('[red]Failed:[/red] ' + escape(text))
    console.print(escape(f'Report: {out / "report.html"}'), soft_wrap=True)


def draw_all(results: SuiteResults, folder: str | Path) -> list[Path]:
    """Draw all figures that the results have data for, as PNG, PDF and SVG.

    The files, which are returned, appear together after the last one is drawn.
    There are none if there is nothing to draw.

    Raises:
        ValueError: The folder can't be written to.
    """
    with style.context(['default', STYLE]):
        figures = all_figures(results)
        if not figures:
            return []
        names = [f'{name}.{ending}' for name in figures for ending in METADATA]
        with whole_files(folder) as partial:
            for name, figure in figures.items():
                save_figure_files(figure, partial, name)
    return [Path(folder) / name for name in names]


def all_figures(results: SuiteResults) -> dict[str, Figure]:
    """Build all figures, by the name of their file without its ending."""
    figures: dict[str, Figure] = {}

    def add(name: str, figure: Figure | None) -> None:
        name = re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')
        while name in figures:
            name += '-again'
        if figure is not None:
            figures[name] = figure

    add('accuracy-by-severity', severity_figure(results))
    for name in results.corrupted_sets:
        add(f'heat-map-{name}', heat_map(results, name))
    pages = reliability_figures(results)
    for i, page in enumerate(pages, 1):
        add('reliability' + f'-{i}' * (len(pages) > 1), page)
    for name in results.sets('ood'):
        add(f'ood-{name}', ood_figure(results, name))
    add('spread-and-error', spread_figure(results))
    return figures


def markdown_report(
    results: SuiteResults,
    figures: Sequence[str | Path],
    folder: str | Path = '',
) -> str:
    """Write all tables, figures and failures into one Markdown text.

    Args:
        results (SuiteResults): The results.
        figures (Sequence[str | Path]): Files, as :func:`draw_all` returns
            them.
        folder (str | Path): The folder of the report, which links are
            relative to. Defaults to the one that the figures' paths are
            relative to.
    """
    content = results.content
    parts = [f'# Safety suite: {content["suite"]["title"]}']
    parts += map(to_markdown, all_tables(results, True))
    parts += map(to_markdown, kind_tables(results, True))
    parts += _list('Not measured', failures(content))
    parts += _figure_links([Path(path) for path in figures], folder)
    facts = dict(run_facts(content))
    if 'command' in facts:
        facts['command'] = f'`{facts["command"]}`'
    parts += _list('How it was made', facts.items())
    checkpoints = checkpoint_table(results)
    if checkpoints:
        parts.append(to_markdown(checkpoints))
    lines = [f'- {text}' for text in conventions(results)]
    parts.append('\n'.join(['## Conventions', '', *lines]))
    parts += _list('Versions', (content.get('versions') or {}).items())
    return '\n\n'.join(parts) + '\n'


def _list(title: str, facts: Iterable[tuple[str, object]]) -> list[str]:
    """A heading and a list of names and texts; nothing if there are none."""
    lines = [f'- {name}: {one_line(text)}' for name, text in facts]
    return ['\n'.join([f'## {title}', '', *lines])] if lines else []


def _figure_links(paths: list[Path], folder: str | Path) -> list[str]:
    """Show each PNG file, with a link to the PDF file of the same figure."""
    parts = []
    for path in (one for one in paths if one.suffix == '.png'):
        caption = next(
            text
            for start, text in CAPTIONS.items()
            if path.name.startswith(start)
        )
        text = f'![{caption}]({_link(path, folder)})\n\n{caption}'
        if path.with_suffix('.pdf') in paths:
            text += f' ([PDF]({_link(path.with_suffix(".pdf"), folder)}))'
        parts.append(text + '.')
    return ['## Figures', *parts] if parts else []


def _link(path: Path, folder: str | Path) -> str:
    return quote(Path(os.path.relpath(path, folder or '.')).as_posix())
