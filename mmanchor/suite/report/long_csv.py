"""Every figure in a line of its own."""

import csv
import io
from collections.abc import Iterator

HEADER = ('model', 'set', 'kind', 'severity', 'figure', 'value')

OF_SCORE = ('auroc', 'auroc_low', 'auroc_high', 'aupr', 'fpr95')


def csv_text(results: dict) -> str:
    """Lines of ``model, set, kind, severity, figure, value``.

    An empty kind or severity means: over all of them. Clean images have
    severity 0. Figures have the names and units of ``results.json``; those
    of anomaly scores start with the score's, those over the near and the far
    sets are of ``near (mean)`` and ``far (mean)``, and what was fitted ends in
    ``_before_temperature`` or ``_after_temperature``. The ends of a figure's
    confidence interval are called ``_low`` and ``_high`` after it. What is
    null has no line.

    Args:
        results (dict): See ``results.json``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(HEADER)
    for model in results['models']:
        for *keys, value in _lines(model):
            if value is not None:
                writer.writerow([model['name'], *keys, value])
    return text.getvalue()


def _lines(model: dict) -> Iterator[tuple]:
    """All but the model."""
    clean = model.get('clean') or {}
    for figure, value in (clean.get('figures') or {}).items():
        yield clean['name'], '', '0', figure, value
    yield clean.get('name'), '', '0', 'num_images', clean.get('num_images')
    for name, found in (model.get('shifts') or {}).items():
        for kind, severity, figures in _points(found or {}):
            for figure, value in (figures or {}).items():
                yield name, kind, severity, figure, value
        for figure in ('ece_pooled', 'num_images'):
            yield name, '', '', figure, (found or {}).get(figure)
    for part, value in (model.get('smooth_ece') or {}).items():
        yield '', '', '', f'smooth_ece_{part}', value
    yield '', '', '', 'relative_mce', model.get('mce')
    for name, found in (model.get('ood') or {}).items():
        yield name, '', '', 'num_images', (found or {}).get('num_images')
        for score, figures in ((found or {}).get('scores') or {}).items():
            for figure in OF_SCORE:
                yield name, '', '', f'{score}_{figure}', figures.get(figure)
    for group, found in (model.get('ood_means') or {}).items():
        for score, figures in found['scores'].items():
            for figure in OF_SCORE:
                yield (
                    f'{group} (mean)',
                    '',
                    '',
                    f'{score}_{figure}',
                    figures.get(figure),
                )
    yield from _temperature_lines(model, clean.get('name', ''))


def _points(found: dict) -> Iterator[tuple[str, str, dict]]:
    """Kind, severity and figures."""
    yield '', '', found.get('mean')
    for severity, figures in (found.get('by_severity') or {}).items():
        yield '', severity, figures
    for kind, figures in (found.get('by_kind') or {}).items():
        yield kind, '', figures
    for kind, cells in (found.get('cells') or {}).items():
        for severity, figures in cells.items():
            yield kind, severity, figures


def _temperature_lines(model: dict, name: str) -> Iterator[tuple]:
    found = model.get('temperature') or {}
    yield name, '', '0', 'temperature', found.get('temperature')
    for when in ('before', 'after'):
        for figure, value in (found.get(when) or {}).items():
            yield name, '', '0', f'{figure}_{when}_temperature', value
