import re
import sys
import types
import warnings

import mmpretrain
import pytest
import torch

from mmanchor import host


def test_the_host_at_hand_is_tested():
    assert mmpretrain.__version__ in host.TESTED
    host.require_host()


def use_version(monkeypatch, version):
    fake = types.SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, 'mmpretrain', fake)


@pytest.mark.parametrize(
    'version', ['0.25.0', '1.0.0rc8', '1.1.0', '1.2.0rc1']
)
def test_versions_that_do_not_work_are_refused(version, monkeypatch):
    use_version(monkeypatch, version)
    with pytest.raises(
        ImportError, match=rf'but got {version}.*onedl-mmpretrain==1.3.6'
    ):
        host.require_host()


@pytest.mark.parametrize('version', ['1.13.1', '2.5.1', '2.5.1+cu124'])
def test_a_pytorch_that_runs_code_of_checkpoints_is_refused(
    version, monkeypatch
):
    monkeypatch.setattr(torch, '__version__', version)
    with pytest.raises(
        ImportError,
        match=f'PyTorch 2.6 or newer.*but got {re.escape(version)}',
    ):
        host.require_host()


@pytest.mark.parametrize('version', ['2.6.0+cu124', '2.15.0'])
def test_newer_versions_of_pytorch_are_taken(version, monkeypatch):
    monkeypatch.setattr(torch, '__version__', version)
    host.require_host()


@pytest.mark.parametrize('version', ['1.2.1', '1.3.5', '1.4.0', '11.2.0'])
def test_versions_that_were_not_tested_are_warned_of(version, monkeypatch):
    use_version(monkeypatch, version)
    with pytest.warns(UserWarning, match=f'not on {version}.*1.3.6') as caught:
        host.require_host()
    assert len(caught) == 1


@pytest.mark.parametrize('version', list(host.TESTED))
def test_tested_versions_import_without_a_word(version, monkeypatch, recwarn):
    use_version(monkeypatch, version)
    host.require_host()
    assert not recwarn.list


def test_no_host_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    with pytest.raises(
        ImportError, match='importing it failed.* mmpretrain==1.2.0'
    ):
        host.require_host()


def test_a_host_that_breaks_at_import_says_what_to_install(monkeypatch):

    def broken(name):
        raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.setattr(host, 'import_module', broken)
    with pytest.raises(ImportError, match='nms does not exist.*onedl-mmcv'):
        host.require_host()


def test_a_harmless_warning_at_import_is_dropped_and_no_other():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        before = list(warnings.filters)
        with host.imported_quietly():
            warnings.warn('Fail to import ``MultiScaleDeformableAttention``')
            warnings.warn('another one')
            warnings.filterwarnings('ignore', message='set by a library')
        theirs, *rest = warnings.filters
    assert [str(w.message) for w in caught] == ['another one']
    assert theirs[1].pattern == 'set by a library'
    assert rest == before


def test_what_the_host_prints_at_import_is_not_on_stdout(monkeypatch, capsys):

    def prints(name):
        print('Could not import a part')
        return mmpretrain

    monkeypatch.setattr(host, 'import_module', prints)
    host.require_host()
    with host.imported_quietly():
        print('nor this one')
    told = capsys.readouterr()
    assert told.err == 'Could not import a part\nnor this one\n'
    assert not told.out
