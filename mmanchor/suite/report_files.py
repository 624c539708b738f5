"""What a suite leaves behind: JSON, CSV, Markdown, a page and figures."""

import json
import os
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..utils.files import whole_files
from ..utils.provenance import (
    command_line,
    commit,
    device_name,
    versions,
    without_folders,
)
from .corrupted_sets import SEED, describe_corruptions
from .measure import NUM_BINS
from .report.drawing import draw_all
from .report.html import render
from .report.page import Answers, suite_page
from .report.pictures import Pictures
from .report.tables import csv_text, markdown_report, terminal_tables
from .runner import Outcome
from .settings import Settings
from .spec import Suite

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
    """All that was found, and what it takes to find it again.

    Returns:
        dict: What ``results.json`` has, but for ``times``.
    """
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
                name: getattr(settings, name)
                for name in ('coverage', 'max_error')
                if getattr(settings, name) is not None
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
    results: dict,
    out: Path,
    pictures: Pictures | None = None,
    answers: Answers | None = None,
) -> None:
    """Write everything.

    Args:
        results (dict): What ``results.json`` is to have.
        out (Path): The folder.
        pictures (Pictures, optional): Images for ``report.html``. Defaults to
            None: it has none.
        answers (Dict[str, dict], optional): What each model says of each
            clean image, for ``report.html``. Defaults to None.

    Raises:
        ImportError: Jinja2 is not installed.
        OSError: The disk is full.
        ValueError: The folder can't be written to.
    """
    results = _without_folders(results)
    try:
        figures = draw_all(results, out / 'figures')
        with whole_files(out) as partial:
            (partial / 'results.json').write_text(
                json.dumps(results, indent=1, ensure_ascii=False) + '\n',
                encoding='utf-8',
            )
            (partial / 'results.csv').write_text(
                csv_text(results), encoding='utf-8'
            )
            (partial / 'report.md').write_text(
                markdown_report(results, figures, out), encoding='utf-8'
            )
            (partial / 'report.html').write_text(
                render(suite_page(results, figures, pictures, answers)),
                encoding='utf-8',
            )
    except OSError as error:
        raise OSError(
            f'Expected room for the report in {out}, but got: '
            f'{error.strerror or error}. Make room, and run the '
            'same command again: what was measured is '
            'kept.'
        ) from error


def _without_folders(results: dict) -> dict:
    """Results whose reasons don't say where this machine has its files."""
    roots = {f'{os.getcwd()}/': '', str(Path.home()): '…'}
    return dict(
        results,
        **{
            part: [
                dict(one, reason=without_folders(one['reason'], roots))
                for one in results[part]
            ]
            for part in ('missing', 'failed')
        },
    )


def print_report(results: dict, out: Path, console: Console) -> None:
    """Print tables, and what is missing or failed."""
    for table in terminal_tables(results, console.width):
        console.print(table)
    for one in results['missing']:
        console.print(escape(f'Not there: {one["name"]}. {one["reason"]}'))
    for one in results['failed']:
        told = f'{one["model"] or "all"}, {one["name"]}. {one["reason"]}'
        console.print('[red]Failed:[/red] ' + escape(told))
    console.print(escape(f'Report: {out / "report.html"}'), soft_wrap=True)
