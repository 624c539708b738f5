"""Names that are known, and those that were probably meant."""

import pytest

from mmanchor.utils.names import arguments, check_arguments, did_you_mean


class Base:
    def __init__(self, seed=0):
        pass


class TakesAny:
    def __init__(self, rate, **kwargs):
        pass


class Handing(Base):
    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)


class Closed(Base):
    def __init__(self, rate):
        super().__init__()


class Singleton:
    def __new__(cls, *args):
        return super().__new__(cls)


@pytest.mark.parametrize(
    'kind,names',
    [
        (TakesAny, None),
        (Handing, ('rate', 'seed')),
        (Closed, ('rate',)),
        (type('Nothing', (), {}), ()),
        (type('Inheriting', (Base,), {}), ('seed',)),
        (Singleton, None),
        (lambda a, *, b=1: a, ('a', 'b')),
        (lambda a, **kwargs: a, None),
    ],
)
def test_arguments_are_those_that_a_call_may_name(kind, names):
    assert arguments(kind) == names


def test_an_unknown_argument_is_refused_by_name():
    check_arguments(['rate', 'seed', 'type'], Handing, others=['type'])
    check_arguments(['whatever'], TakesAny)
    with pytest.raises(
        TypeError, match="of Handing .* raet. Did you mean 'ra"
    ):
        check_arguments(['raet'], Handing)
    with pytest.raises(
        TypeError, match='of this to be among rate, .* x. Drop'
    ):
        check_arguments(['x'], Closed, 'this')
    with pytest.raises(TypeError, match='among none, but got x'):
        check_arguments(['x'], lambda: None)


def test_advice_may_name_several():
    known = ['backbone', 'backbones', 'head']
    assert did_you_mean('backbon', known, at_most=2) == (
        "Did you mean 'backbone' or 'backbones'?"
    )
    assert did_you_mean(3, [1, 2]) == ''
