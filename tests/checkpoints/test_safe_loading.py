"""Checkpoints of MMEngine load; those that hold code are refused by every tool."""

import os
import pickle
import random
import re
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from helpers.forked import run_forked
from helpers.malicious import CreatesAFile
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OneCycleLR
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local

from mmanchor.checkpoints.safe_loading import (
    _get_attribute,
    allow_mmengine_checkpoints,
    checkpoint_loading,
    load_local,
    mmengine_safe_globals,
    multiarray,
)
from mmanchor.checkpoints.verification import check_checkpoint
from mmanchor.engine import launch


@pytest.fixture
def allowed():
    """Allows our list on the fork as well, whose own list is longer."""
    with torch.serialization.safe_globals(mmengine_safe_globals()):
        yield
    allow_mmengine_checkpoints()  # leaving the context disallows everything


@pytest.mark.usefixtures('allowed')
def test_a_run_s_history_is_loaded_without_running_code(tmp_path):
    hub = MessageHub.get_instance(tmp_path.name)
    hub.update_scalar('loss', 1.5)
    hub.update_scalar('loss', np.float32(2.5))
    hub.update_info('iter', np.int64(3))
    path = tmp_path / 'run.pth'
    torch.save(dict(message_hub=hub.state_dict()), path)
    loaded = torch.load(path, weights_only=True)['message_hub']
    assert loaded['runtime_info']['iter'] == 3
    assert loaded['log_scalars']['loss'].data[0].tolist() == [1.5, 2.5]
    assert loaded['log_scalars']['loss'].statistics('max') == 2.5


class Call:
    """Pickles as a call, and perhaps what is set afterwards."""

    def __init__(self, function, arguments, *state):
        self.reduced = (function, arguments, *state)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    'content',
    [
        # an attribute of something else than a log's history
        Call(getattr, (torch.nn.Linear, 'forward')),
        Call(random.seed, (1,)),
    ],
    ids=['attribute', 'call'],
)
@pytest.mark.usefixtures('allowed')
def test_a_checkpoint_that_asks_for_code_is_refused(content, tmp_path):
    path = tmp_path / 'run.pth'
    torch.save(dict(meta=content), path)
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch.load(path, weights_only=True)


@pytest.mark.slow
@pytest.mark.usefixtures('allowed')
def test_a_new_process_loads_it_too(tmp_path):
    path = str(tmp_path / 'run.pth')
    hub = MessageHub.get_instance(tmp_path.name)
    hub.update_scalar('loss', 1.5)
    torch.save(dict(message_hub=hub.state_dict()), path)
    code = (
        'import torch\n'
        'from mmanchor.checkpoints.safe_loading import mmengine_safe_globals\n'
        'torch.serialization.add_safe_globals(mmengine_safe_globals())\n'
        f'hub = torch.load({path!r}, weights_only=True)["message_hub"]\n'
        'print(hub["log_scalars"]["loss"].statistics("current"))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.stdout.split()[-1:] == ['1.5'], done.stderr


@pytest.mark.usefixtures('allowed')
def test_a_one_cycle_schedule_is_loaded(tmp_path):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = OneCycleLR(optimizer, eta_max=1.0, total_steps=5)
    torch.save(scheduler.state_dict(), tmp_path / 'run.pth')
    state = torch.load(tmp_path / 'run.pth', weights_only=True)
    scheduler.load_state_dict(state)


@pytest.mark.parametrize('core', ['core', '_core'])
@pytest.mark.usefixtures('allowed')
def test_arrays_of_numpy_1_and_2_are_loaded(core, tmp_path):
    path = tmp_path / 'run.pth'
    torch.save(dict(array=np.arange(3.0), scalar=np.float64(2.0)), path)
    renamed = tmp_path / 'renamed.pth'
    with ZipFile(path) as old, ZipFile(renamed, 'w') as new:
        for name in old.namelist():
            content = re.sub(
                rb'numpy\._?core\.',
                b'numpy.%b.' % core.encode(),
                old.read(name),
            )
            new.writestr(name, content)
    assert b'numpy.%b.multiarray' % core.encode() in renamed.read_bytes()
    loaded = torch.load(renamed, weights_only=True)
    assert loaded['array'].tolist() == [0, 1, 2]
    assert loaded['scalar'] == 2


@pytest.mark.usefixtures('allowed')
def test_only_what_checkpoints_ask_for_is_given():
    assert _get_attribute(HistoryBuffer, 'max') is HistoryBuffer.max
    for owner, name in ((HistoryBuffer, '__init__'), (pickle, 'max')):
        with pytest.raises(ValueError, match=f'schedulers only.*{name!r} of'):
            _get_attribute(owner, name)


TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def mark(tmp_path):
    """The file that malicious code would create."""
    return tmp_path / 'created'


@pytest.fixture
def malicious(checkpoint, mark, tmp_path):
    """A good checkpoint with code in it."""
    saved = torch.load(checkpoint, weights_only=False)
    saved['meta']['more'] = CreatesAFile(mark)
    torch.save(saved, tmp_path / 'malicious.pth')
    return str(tmp_path / 'malicious.pth')


@pytest.fixture
def config_file(small_config, tmp_path):
    cfg = small_config(
        epochs=2, validate_every=2, **{'custom_hooks.0.num_references': 3}
    )
    cfg.dump(tmp_path / 'small.py')
    return str(tmp_path / 'small.py')


REFUSED = (
    'malicious.pth asks for .*open: loading it can run code.*'
    '`--allow-code-in-checkpoints`'
)


@pytest.mark.parametrize(
    'main,flags',
    [
        (launch.train, ['--resume', '{}']),
        (launch.train, ['--cfg-options', 'load_from={}']),
        (
            launch.train,
            [
                '--cfg-options',
                'model.backbone.init_cfg.type=Pretrained',
                'model.backbone.init_cfg.checkpoint={}',
                'model.backbone.init_cfg.prefix=backbone.',
            ],
        ),
        (launch.test, ['{}']),
    ],
    ids=['resume', 'load_from', 'pretrained', 'test'],
)
def test_training_and_testing(config_file, malicious, mark, main, flags):
    argv = [config_file, *(flag.format(malicious) for flag in flags)]
    with pytest.raises(ValueError, match=REFUSED):
        main(argv)
    assert not mark.exists()
    main([*argv, '--allow-code-in-checkpoints'])
    assert mark.exists()


@pytest.mark.parametrize(
    'tool,rest',
    [
        ('fold', ['{config}', '{file}', '{out}']),
        ('export', ['{config}', '{file}', '{out}.pt2']),
        ('strip_references', ['{file}', '{out}.pth']),
        (
            'evaluate',
            ['{config}', '{file}', '--suite', '{suite}', '--out', '{out}'],
        ),
        ('benchmark', ['{config}', '--checkpoint', '{file}', '--rounds', '1']),
    ],
)
def test_other_tools(config_file, malicious, mark, tool, rest, tmp_path):
    suite = tmp_path / 'suite.py'
    suite.write_text(
        "title = 'Clean'\nclean = dict(name='Digits', "
        "dataset=dict(type='Digits'))\nshifts = ood = []\n"
    )
    rest = [
        word.format(
            config=config_file,
            file=malicious,
            suite=suite,
            out=tmp_path / 'out',
        )
        for word in rest
    ]
    status, printed = run_forked(
        TOOLS / f'{tool}.py',
        *rest,
        output=tmp_path / 'printed',
        cwd=tmp_path,
        env=dict(COLUMNS='999'),
    )
    assert status != 0
    # `evaluate` goes on with other models, and prints why
    assert 'malicious.pth asks for' in ' '.join(printed.split()), printed
    assert not mark.exists()


def test_a_config_in_a_checkpoint_is_not_run(config_file, checkpoint, mark):
    """As MMEngine would: a string is no code to an unpickler."""
    saved = torch.load(checkpoint, weights_only=False)
    saved['meta']['config'] = f'open({str(mark)!r}, "w")'
    torch.save(saved, checkpoint)
    launch.train([config_file, '--resume', checkpoint])
    assert not mark.exists()


def test_getattr_reaches_no_other_attributes(tmp_path):
    """The fork's own list allows `getattr`, of anything."""
    code = Call(getattr, (HistoryBuffer, '__init__'))
    torch.save(dict(state_dict=code), tmp_path / 'x.pth')
    with (
        checkpoint_loading(),
        pytest.raises(ValueError, match='x.pth .*could not be read.*__init__'),
    ):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth'))


def test_downloads_are_loaded_without_running_code(
    malicious, mark, monkeypatch
):
    """The host unpickles what it downloads."""

    def download(path, map_location=None, **kwargs):
        return torch.load(malicious, map_location, weights_only=False)

    monkeypatch.setitem(CheckpointLoader._schemes, 'https://', download)
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    with checkpoint_loading(), pytest.raises(Exception, match='open'):
        CheckpointLoader.load_checkpoint('https://example.org/a.pth')
    assert not mark.exists()
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ
    with checkpoint_loading(allow_code=True):
        CheckpointLoader.load_checkpoint('https://example.org/a.pth')
    assert mark.exists()


def test_mmengine_s_loaders_are_restored(checkpoint):
    before = dict(CheckpointLoader._schemes)
    with pytest.raises(RuntimeError), checkpoint_loading():
        assert CheckpointLoader._schemes[''] is not load_from_local
        raise RuntimeError
    assert CheckpointLoader._schemes == before
    assert list(CheckpointLoader._schemes) == list(before)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='none at nowhere.pth'):
        load_local('nowhere.pth')
    (tmp_path / 'text.pth').write_text('text')
    with pytest.raises(ValueError, match='text.pth .*could not be read'):
        load_local(str(tmp_path / 'text.pth'))


PLAIN = (3, '<', None, None, None, -1, -1, 0)
FIELDS = (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 27)


def dtype_of(state=PLAIN, kind='f8'):
    return Call(np.dtype, (kind, False, True), state)


def array_of(*state):
    return Call(multiarray._reconstruct, (np.ndarray, (0,), b'b'), state)


@pytest.mark.parametrize(
    'content',
    [
        dtype_of(FIELDS),
        dtype_of((*PLAIN[:-1], 63)),
        dtype_of((*PLAIN[:5], 800, 8, 0)),
        dtype_of((4, *PLAIN[1:], {})),
        dtype_of(kind='O8'),
        dtype_of(kind='V8'),
        Call(multiarray.scalar, (np.dtype('O'), b'12345678')),
        Call(multiarray.scalar, (np.dtype('f8'), b'1234')),
        array_of(1, (2,), dtype_of(), False, b'12345678'),
        array_of(1, (-1,), dtype_of(), False, b'12345678'),
        array_of(1, (1,), dtype_of(kind='O8'), False, [[]]),
        array_of(1, (1,), 'f8', False, b'12345678'),
        Call(multiarray._reconstruct, (HistoryBuffer, (0,), b'b')),
        Call(getattr, (np.ndarray, 'ctypes')),
    ],
    ids=range(14),
)
@pytest.mark.parametrize('loading', ['ours', 'host'])
def test_crafted_numbers_are_refused(content, loading, tmp_path):
    """In time: NumPy would take their bytes as pointers."""
    path = str(tmp_path / 'crafted.pth')
    torch.save(dict(state_dict={}, meta=content), path)
    context, load = {
        'ours': (nullcontext(), load_local),
        'host': (checkpoint_loading(), CheckpointLoader.load_checkpoint),
    }[loading]
    message = "crafted.pth .*could not be read: Expected .*don't load it"
    with context, pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert 'weights_only' not in str(caught.value)


@pytest.mark.parametrize(
    'kind',
    'b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 <f8 >f8 >i4'.split(),
)
def test_plain_numbers_come_back_as_they_were(kind, tmp_path):
    array = np.array([[0, 1], [2, 5]]).astype(kind)
    path = str(tmp_path / 'x.pth')
    content = dict(a=array, f=np.asfortranarray(array), s=array[1, 1])
    torch.save(content, path)
    loaded = load_local(path)
    torch.save(loaded, path)
    again = load_local(path)
    plain = torch.load(path, weights_only=False)
    assert type(plain['a']) is np.ndarray  # saved as it was
    for found in (loaded, again):
        for name in 'afs':
            assert np.array_equal(found[name], plain[name])
            assert found[name].dtype == plain[name].dtype


def test_classes_that_users_allowed_remain_allowed(tmp_path):
    before = torch.serialization.get_safe_globals()
    path = str(tmp_path / 'x.pth')
    torch.save(dict(state_dict={}, path=Fraction(1, 2)), path)
    with pytest.raises(ValueError, match='Fraction'):
        load_local(path)
    with torch.serialization.safe_globals([Fraction]):
        assert load_local(path)['path'] == Fraction(1, 2)
        assert Fraction in torch.serialization.get_safe_globals()
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_no_message_leads_to_running_code(tmp_path):
    """PyTorch's own advise `weights_only=False`."""
    torch.save(dict(a=1), tmp_path / 'x.pth', pickle_protocol=4)
    (tmp_path / 'old.pth').write_bytes(pickle.dumps(dict(a=1), 2))
    for name in ('x.pth', 'old.pth'):
        with pytest.raises(ValueError, match='could not be read') as caught:
            load_local(str(tmp_path / name))
        assert 'weights_only' not in str(caught.value)
        assert str(caught.value).count('\n') == 0


def test_a_file_that_inflates_is_refused_before_it_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        'mmanchor.checkpoints.safe_loading._MAX_INFLATED', 2**20
    )
    path = str(tmp_path / 'bomb.pth')
    torch.save(dict(state_dict=dict(w=torch.zeros(2**19))), path)
    load_local(path)  # as large, but on the disk as well
    with (
        zipfile.ZipFile(path) as whole,
        zipfile.ZipFile(
            tmp_path / 'small.pth', 'w', zipfile.ZIP_DEFLATED
        ) as small,
    ):
        for entry in whole.namelist():
            small.writestr(entry, whole.read(entry))
    monkeypatch.setattr(zipfile.ZipFile, 'testzip', None)
    monkeypatch.setattr(torch, 'load', None)
    for function in (load_local, check_checkpoint):
        with pytest.raises(
            ValueError, match=r'small.pth \(\d+ bytes\) would inflate'
        ):
            function(str(tmp_path / 'small.pth'))
