"""Checkpoints that hold code are refused by every tool."""
import os
from pathlib import Path

import pytest
import torch
from helpers.forked import run_forked
from helpers.malicious import CreatesAFile
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local

from mmanchor.checkpoints.safe_loading import checkpoint_loading, load_local
from mmanchor.engine import launch

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
        **{
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'custom_hooks.0.num_references': 3
        })
    cfg.dump(tmp_path / 'small.py')
    return str(tmp_path / 'small.py')


REFUSED = ('malicious.pth asks for .*open: loading it can run code.*'
           '`--allow-code-in-checkpoints`')


@pytest.mark.parametrize(
    'main,flags', [
        (launch.train, ['--resume', '{}']),
        (launch.train, ['--cfg-options', 'load_from={}']),
        (launch.train, [
            '--cfg-options', 'model.backbone.init_cfg.type=Pretrained',
            'model.backbone.init_cfg.checkpoint={}',
            'model.backbone.init_cfg.prefix=backbone.'
        ]),
        (launch.test, ['{}']),
    ],
    ids=['resume', 'load_from', 'pretrained', 'test'])
def test_training_and_testing(config_file, malicious, mark, main, flags):
    argv = [config_file, *(flag.format(malicious) for flag in flags)]
    with pytest.raises(ValueError, match=REFUSED):
        main(argv)
    assert not mark.exists()
    main([*argv, '--allow-code-in-checkpoints'])
    assert mark.exists()


@pytest.mark.parametrize('tool,rest', [
    ('fold', ['{config}', '{file}', '{out}']),
    ('export', ['{config}', '{file}', '{out}.pt2']),
    ('strip_references', ['{file}', '{out}.pth']),
    ('evaluate', ['{config}', '{file}', '--suite', '{suite}', '--out',
                  '{out}']),
    ('benchmark', ['{config}', '--checkpoint', '{file}', '--rounds', '1']),
])  # yapf: disable
def test_other_tools(config_file, malicious, mark, tool, rest, tmp_path):
    suite = tmp_path / 'suite.py'
    suite.write_text("title = 'Clean'\nclean = dict(name='Digits', "
                     "dataset=dict(type='Digits'))\nshifts = ood = []\n")
    rest = [
        word.format(
            config=config_file,
            file=malicious,
            suite=suite,
            out=tmp_path / 'out') for word in rest
    ]
    status, printed = run_forked(
        TOOLS / f'{tool}.py',
        *rest,
        output=tmp_path / 'printed',
        cwd=tmp_path,
        env=dict(COLUMNS='999'))
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


def test_getattr_is_no_way_out(tmp_path):
    """The fork's own list allows `getattr`, of anything."""
    from mmengine.logging import HistoryBuffer

    class Globals:

        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save(dict(state_dict=Globals()), tmp_path / 'x.pth')
    with checkpoint_loading(), pytest.raises(
            ValueError, match='x.pth, but it could not be read.*__init__'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth'))


def test_files_from_elsewhere(malicious, mark, monkeypatch):
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


def test_the_host_s_loaders_come_back(checkpoint):
    before = dict(CheckpointLoader._schemes)
    with pytest.raises(RuntimeError), checkpoint_loading():
        assert CheckpointLoader._schemes[''] is not load_from_local
        raise RuntimeError
    assert CheckpointLoader._schemes == before
    assert list(CheckpointLoader._schemes) == list(before)


def test_what_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='none at nowhere.pth'):
        load_local('nowhere.pth')
    (tmp_path / 'text.pth').write_text('text')
    with pytest.raises(ValueError, match='text.pth, but it could not be read'):
        load_local(str(tmp_path / 'text.pth'))
