"""Metrics, read from the record of a model."""

from statistics import mean

from mmanchor.datasets.shifts.kinds import ALL_C_KINDS
from mmanchor.studies.metrics import values_of


def test_a_group_is_the_mean_of_its_kinds():
    by_kind = {kind: dict(top1=float(i)) for i, kind in enumerate(ALL_C_KINDS)}
    row = dict(shifts=dict(C=dict(by_kind=by_kind)))
    found = values_of(row, 'C')
    assert found['noise'] == mean([0, 1, 2, 15])
    assert found['blur'] == mean([3, 4, 5, 6, 16])
    assert found['weather'] == mean([7, 8, 9, 10, 17])
    assert found['digital'] == mean([11, 12, 13, 14, 18])
    assert values_of(row, 'other') == {}
