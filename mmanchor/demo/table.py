"""The table of the demo."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..suite.report.reading import clean, corruptions, scores, shift


def demo_table(results: dict) -> Table:
    """One row a model: accuracy, calibration, spread, anomalies, cost.

    Args:
        results (dict): See ``results.json``.

    Returns:
        Table: To print at 80 columns.
    """
    table = Table(
        title='ResNet-18 (width 16) on 500 held-out digits',
        caption='acc.: accuracy in %   corr.: mean over '
        f'{corruptions(results, "Digits-C")}\n'
        'ECE: expected calibration error   spread: of the logits over '
        'references\nAUROC: of photographs against digits, by '
        'energy, in %\n≤10: as many of ten references as an image needs; '
        'used: how many\nstep time: of training, over standard',
        caption_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column('\nmodel', no_wrap=True)
    for column in (
        '\nK',
        'acc.\nclean',
        'acc.\ncorr.',
        'ECE\nclean',
        'ECE\ncorr.',
        'spread\ncorr.',
        'used\ncorr.',
        '\nAUROC',
        'step\ntime',
    ):
        table.add_column(column, justify='right')
    for model in results['models']:
        corrupted = shift(model, 'Digits-C').get('mean') or {}
        energy = scores(model, 'Photographs').get('energy') or {}
        name = name_of(model)
        k = str(model['num_references'] or '–')
        table.add_row(
            name,
            '≤' + k if model['protocol'] == 'adaptive' else k,
            *(
                _number(one.get(figure), digits)
                for figure, digits in (('top1', 1), ('ece', 3))
                for one in (clean(model), corrupted)
            ),
            _number(corrupted.get('spread'), 2),
            _number(corrupted.get('mean_used'), 1),
            _number(energy.get('auroc'), 1, 100),
            _number(results['times']['train_step_ratio'][name], 2),
        )
    return table


def name_of(model: dict) -> str:
    """A model's name without how its references are used."""
    return model['name'].rpartition(', K')[0] or model['name']


def _number(value, digits: int, times: float = 1) -> str:
    return '–' if value is None else f'{times * value:.{digits}f}'
