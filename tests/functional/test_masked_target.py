import pytest
import torch

from mmanchor.functional import (
    normalized_entropy,
    uniform_cross_entropy,
)


def test_normalized_entropy_runs_from_certain_to_uniform():
    logits = torch.tensor(
        [[0.0, 0, 0, 0], [200.0, 0, 0, 0], [0.0, 0, -1e9, -1e9]]
    )
    torch.testing.assert_close(
        normalized_entropy(logits), torch.tensor([1.0, 0.0, 0.5])
    )


@pytest.mark.parametrize(
    'function', [uniform_cross_entropy, normalized_entropy]
)
def test_one_class_is_refused(function):
    with pytest.raises(ValueError, match='two classes or more'):
        function(torch.zeros(3, 1))
