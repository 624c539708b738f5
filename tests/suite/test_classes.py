"""Names of classes in another order are no classes to measure."""

import pytest
import torch

from mmanchor.checkpoints.model_loading import check_classes


def test_a_set_in_another_order_fails_by_name(outcome, copied):
    _, path = copied()
    saved = torch.load(path, weights_only=False)
    meta = saved['meta']['dataset_meta']
    meta['classes'] = meta['classes'][::-1]
    torch.save(saved, path)
    found = outcome(checkpoint=str(path))
    assert 'Digits' in [one['name'] for one in found.failed]
    assert (
        'Expected the classes of Digits in the order of'
        in (found.failed[0]['reason'])
    )
    assert found.models[0]['clean'] is None


@pytest.mark.parametrize(
    'trained,tested',
    [
        (None, ('a', 'b')),
        (('a', 'b'), None),
        (('a', 'b'), ['a', 'b']),
        (('a', 'b'), ('n1', 'n2')),
    ],
)
def test_other_names_and_none_say_nothing(trained, tested):
    check_classes(trained, tested, 'x.pth', 'Set')


def test_the_first_that_differs_is_named():
    with pytest.raises(
        ValueError, match="class 1 is 'b' there and 'c' in Set. Number"
    ):
        check_classes('abc', 'acb', 'x.pth', 'Set')
