"""The table of how much networks use their references."""

import importlib.util
from pathlib import Path

import pytest

import mmanchor

SCRIPT = (
    Path(mmanchor.__file__).parents[1] / 'tools/benchmarks/reference_use.py'
)


@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('reference_use', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_distance_and_spread_are_measured_along_training(script):
    run = script.measure(script.MODELS['masked, labels'], seed=0, epochs=1)
    assert sorted(run) == [0, 1]
    (start, nothing), (distance, spread) = run[0], run[1]
    assert nothing is None and 0 < spread < 1
    assert 1.2 < start < 1.8 and distance != start


def test_a_single_seed_has_no_deviation(script):
    assert script.over([0.25]) == '0.250'
    assert script.over([0.0, 1.0]) == '0.500 ± 0.707'
    assert script.over([None, None]) == ''
