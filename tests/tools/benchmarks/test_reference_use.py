"""The table of how much networks use their references."""

from reference_use import MODELS, mean_over_seeds, measure


def test_distance_and_spread_are_measured_along_training():
    run = measure(MODELS['masked, labels'], seed=0, epochs=1)
    assert sorted(run) == [0, 1]
    (start, nothing), (distance, spread) = run[0], run[1]
    assert nothing is None and 0 < spread < 1
    assert 1.2 < start < 1.8 and distance != start


def test_a_single_seed_has_no_deviation():
    assert mean_over_seeds([0.25]) == '0.250'
    assert mean_over_seeds([0.0, 1.0]) == '0.500 ± 0.707'
    assert mean_over_seeds([None, None]) == ''
