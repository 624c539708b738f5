"""Results of the safety suite, made up."""

import numpy as np

from mmanchor.datasets.shifts.kinds import C_EXTRA_KINDS, C_KINDS

KINDS = (*C_KINDS, *C_EXTRA_KINDS)
NAMES = (
    'standard',
    'anchored, K = 1',
    'anchored, K = 10',
    'anchored, K = 10, adaptive',
    'anchored, masked, K = 1',
    'anchored, masked, K = 10',
    'anchored, masked, K = 10, adaptive',
    'resnet18-w16_anchored-masked_cifar10-folders, epoch 200, K = 10',
)


def fake_results(
    num_models=3,
    corrupted=('CIFAR-10-C',),
    plain=('CIFAR-10.1',),
    ood=('Textures', 'SVHN'),
    num_kinds=15,
    **changes,
) -> dict:
    """Results of ``num_models``, the first a standard one.

    Args:
        num_models (int): Defaults to 3.
        corrupted (Sequence[str]): Shifted sets with kinds and severities.
        plain (Sequence[str]): Shifted sets without.
        ood (Sequence[str]): Sets out of distribution.
        num_kinds (int): Of the corrupted sets. Defaults to 15.
        **changes: Of the results' other entries.
    """
    rng = np.random.default_rng(0)
    return {
        'suite': dict(name='cifar10', title='CIFAR-10'),
        'conventions': dict(confidence='the largest probability'),
        'versions': dict(mmanchor='1.0'),
        'models': [
            _model(i, rng, corrupted, plain, ood, KINDS[:num_kinds])
            for i in range(num_models)
        ],
        'missing': [],
        'failed': [],
        **changes,
    }


def _model(i, rng, corrupted, plain, ood, kinds) -> dict:
    anchored = i > 0
    k = None if not anchored else 1 if i % 3 == 1 else 10
    skill, spread = 0.5 * i, None if not anchored else 0.0 if k == 1 else 0.1
    name = NAMES[i % len(NAMES)] + (' again' if i >= len(NAMES) else '')
    shifts = {
        name: _corrupted(rng, skill, spread, kinds) for name in corrupted
    }
    for set_name in plain:
        shifts[set_name] = dict(
            mean=_figures(rng, 14 - skill, spread, 1.3),
            by_severity=None,
            by_kind=None,
            cells=None,
            reliability=_reliability(rng, 0.1),
        )
    return dict(
        name=name,
        num_references=k,
        protocol=k and 'mean',
        clean=dict(
            name='CIFAR-10',
            num_images=10000,
            figures=_figures(rng, 5 - 0.2 * skill, spread),
        ),
        shifts=shifts,
        reliability=_reliability(rng, 0.03),
        smooth_ece=dict(mean=0.08 - 0.002 * i, std=0.021) if shifts else None,
        mce=None,
        ood={name: _anomalies(rng, skill, anchored) for name in ood},
        temperature=None,
    )


def _figures(rng, error, spread, wider=1.0) -> dict:
    error = float(np.clip(error + rng.normal(0, 0.3), 0.5, 95))
    return dict(
        top1=100 - error,
        ece=error / 400,
        rmsce=error / 300,
        mce=error / 200,
        smooth_ece=error / 410,
        nll=error / 30,
        brier=error / 60,
        aurc=error / 1000,
        excess_aurc=error / 2000,
        spread=spread and spread * wider * float(rng.uniform(0.9, 1.1)),
        mean_used=None if spread is None else 10.0 if spread else 1.0,
    )


def _mean(figures) -> dict:
    return {
        name: None
        if value is None
        else float(np.mean([found[name] for found in figures]))
        for name, value in figures[0].items()
    }


def _corrupted(rng, skill, spread, kinds) -> dict:
    hard = np.random.default_rng(1).uniform(1, 10, len(kinds))  # for all
    hard = hard + rng.normal(0, 0.5, len(kinds))
    cells = {
        kind: {
            str(severity): _figures(
                rng,
                5 + (h - skill) * severity * 0.9,
                spread,
                1 + 0.01 * h * severity,
            )
            for severity in range(1, 6)
        }
        for kind, h in zip(kinds, hard)
    }
    return dict(
        mean=_mean([f for row in cells.values() for f in row.values()]),
        by_severity={
            str(severity): _mean(
                [row[str(severity)] for row in cells.values()]
            )
            for severity in range(1, 6)
        },
        by_kind={
            kind: _mean(list(row.values())) for kind, row in cells.items()
        },
        cells=cells,
        reliability=_reliability(rng, 0.15),
    )


def _reliability(rng, gap) -> dict:
    edges = np.linspace(0, 1, 16)
    middle = (edges[1:] + edges[:-1]) / 2
    count = np.round(8000 * middle**6 * (middle > 0.1)).astype(int)
    accuracy = np.clip(middle - gap + rng.normal(0, 0.02, 15), 0, 1)
    return dict(
        edges=edges.tolist(),
        count=count.tolist(),
        confidence=[float(m) if c else None for m, c in zip(middle, count)],
        accuracy=[float(a) if c else None for a, c in zip(accuracy, count)],
    )


def _anomalies(rng, skill, anchored) -> dict:
    names = ('energy', 'msp', 'spread') if anchored else ('msp',)
    found = {}
    for name in names:
        inside = rng.normal(-9, 2, 2000)
        outside = rng.normal(-6.5 + 0.3 * skill, 2, 1000)
        edges = np.linspace(-18, 2, 41)
        cuts = np.quantile(inside, np.linspace(1, 0, 101))
        tpr = [float((outside >= cut).mean()) for cut in cuts]
        fpr = np.linspace(0, 1, 101).tolist()
        found[name] = dict(
            auroc=float((outside[:, None] > inside).mean()),
            aupr=0.8,
            fpr95=0.4,
            roc=dict(fpr=fpr, tpr=tpr),
            histogram={
                'edges': edges.tolist(),
                'in': np.histogram(inside, edges)[0].tolist(),
                'out': np.histogram(outside, edges)[0].tolist(),
            },
        )
    return dict(num_images=1000, scores=found)
