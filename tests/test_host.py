import sys
import types

import mmpretrain
import pytest

from mmanchor import host


def test_the_host_at_hand_is_tested():
    assert host.is_tested(mmpretrain.__version__)


@pytest.mark.parametrize(
    'version',
    ['1.1.0', '1.2.1', '1.3.5', '1.4.0', '2.0.0', '1.3.6rc1', '11.2.0'])
def test_other_versions_are_refused_with_what_to_install(version, monkeypatch):
    fake = types.SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, 'mmpretrain', fake)
    with pytest.raises(
            ImportError,
            match=rf'but got {version}.*pip install "mmanchor\[host\]"'):
        host.require_host()


def test_no_host_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    with pytest.raises(
            ImportError,
            match=r'importing it failed.*pip install "mmanchor\[upstream\]"'):
        host.require_host()
