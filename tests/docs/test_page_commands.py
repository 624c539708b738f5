"""Every command that the README and the pages show is run.

Each page has a folder of its own, with links to the clone and tiny data, and
its commands run there in order; `short_runs` makes them short. What can't be
run here is in one table, `NOT_RUN`.
"""

import os
import re
import runpy
import shlex
import subprocess
from configparser import ConfigParser

import click
import pytest
from helpers.page_sandbox import THERE, Failed, run_tool
from helpers.shown_commands import (
    PAGES,
    ROOT,
    inline_commands,
    parse,
    shown_commands,
    unseen_commands,
)

from mmanchor.engine import launch
from mmanchor.suite.cli import evaluate_parser


def arguments_parse(command, *_):
    """The tool takes the arguments, and the configs among them exist."""
    program, tool, *arguments = command.words
    assert program == 'python'
    parser = {
        'tools/train.py': launch.train_parser,
        'tools/test.py': launch.test_parser,
        'tools/evaluate.py': evaluate_parser,
    }.get(tool) or runpy.run_path(str(ROOT / tool))['make_parser']
    parser().parse_args(arguments)
    for word in arguments:
        if word.startswith('configs/'):
            assert (ROOT / word).is_file(), word


def extras_exist(command, *_):
    """The extras that pip is to install are in setup.cfg."""
    setup = ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    names = re.search(r'\[([\w,-]+)\]$', command.words[-1])[1].split(',')
    assert set(names) <= set(setup['options.extras_require'])
    for i, word in enumerate(command.words):
        if word == '-c':
            assert (ROOT / command.words[i + 1]).is_file()


def target_exists(command, *_):
    """``make -n`` finds the target and what it depends on."""
    subprocess.run(
        ['make', '-n', *command.words[1:]],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )


def mim_parses(command, *_):
    """mim takes the arguments."""
    from mim.cli import cli as mim  # slow

    _, name, *arguments = command.words
    group = click.Context(mim)
    found = mim.get_command(group, name).make_context(name, arguments)
    # what mim doesn't know it hands on: nothing of what is shown
    assert not found.params.get('other_args'), found.params


def files_exist(command, *_):
    """The paths among the words are there."""
    paths = [word for word in command.words[1:] if '/' in word]
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def in_one_process(command, folder):
    """Run the script; what it would start on each GPU, for one process.

    ``python``, ``srun`` and ``sbatch`` only say how they were called.
    """
    fakes = folder / 'fakes'
    fakes.mkdir(exist_ok=True)
    for name in ('python', 'srun', 'sbatch', 'sinfo'):
        (fakes / name).write_text('#!/bin/sh\necho "$(basename $0)" "$@"\n')
        (fakes / name).chmod(0o755)
    done = subprocess.run(
        command.words,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'PATH': f'{fakes}:{os.environ["PATH"]}',
            **command.variables,
        },
    )
    assert not done.returncode, f'{command.text}\n{done.stderr}'
    called = done.stdout.splitlines()[-1]
    if 'train.sbatch' in called:
        words = called.partition('train.sbatch ')[2].split()
        line = ['tools/train.py', words[0], '--work-dir', *words[1:]]
    else:
        tool, arguments = re.search(
            r'(train\.py|test\.py) (.*) --launcher \w+$', called
        ).groups()
        line = [f'tools/{tool}', *arguments.split()]
    return parse(' '.join(['python', *line]))


def script_parses(command, patch, folder):
    """The script runs, and the tool takes what it would get."""
    arguments_parse(in_one_process(command, folder))


def one_process_runs(command, patch, folder):
    """The script runs, and what it would start is run once, here.

    Pages show how the same training is started in several ways.
    """
    started = in_one_process(command, folder)
    done = folder / 'started.txt'
    if started.text not in (done.read_text() if done.exists() else ''):
        run_tool(started, patch, folder.parent / 'log')
        with done.open('a') as file:
            file.write(started.text + '\n')


def study_lists_its_cells(command, patch, folder):
    """The settings, seeds and options of the study make cells."""
    listed = parse(f'{shlex.join(["python", *command.words[1:]])} --list')
    assert 'to do' in run_tool(listed, patch, folder.parent / 'log')


# how a command that is not run starts -> why, and what is checked instead
NOT_RUN = {
    'pip install': ('changes the environment that tests run in', extras_exist),
    'make': ('makes an environment, and takes minutes', target_exists),
    r'\.venv/bin/python -m pytest': (
        'this is a run of it already',
        files_exist,
    ),
    r'mim': (
        'starts processes: tests/integration and tests/system run it',
        mim_parses,
    ),
    r'tools/dist_train\.sh configs/imagenet': (
        'eight GPUs; tests/configs trains these configs',
        script_parses,
    ),
    r'tools/dist_\w+\.sh': (
        'eight processes, on two nodes at times',
        one_process_runs,
    ),
    r'tools/slurm_\w+\.sh': ('asks a Slurm for nodes', one_process_runs),
    r'python tools/benchmarks/frozen_head\.py': (
        'trains for minutes; tests/tools runs it with few images',
        arguments_parse,
    ),
    r'python tools/benchmarks/any_depth\.py': (
        'times for minutes; tests/tools runs it with few images',
        arguments_parse,
    ),
    r'python tools/benchmarks/predict_speed\.py': (
        'predicts 20,000 images; tests/tools runs it with few',
        arguments_parse,
    ),
    r'python tools/benchmarks/step_overhead\.py': (
        'runs for a minute; tests/tools runs it with few steps',
        arguments_parse,
    ),
    r'python tools/benchmark\.py .*--device cuda': (
        'needs a GPU',
        arguments_parse,
    ),
    r'python tools/benchmark\.py mmpretrain::resnet/resnet50_8xb32_in1k': (
        'larger networks, after the same command with a small one',
        arguments_parse,
    ),
    r'python tools/threshold\.py': (
        'a model of one epoch reaches no level: tests/suite runs it',
        arguments_parse,
    ),
    r'python tools/evaluate\.py .*--max-error': (
        'a model of one epoch reaches no level: tests/suite runs it',
        arguments_parse,
    ),
    r'python tools/predict\.py .*--coverage': (
        'reads what tools/threshold.py saved: tests/diagnostics does so',
        arguments_parse,
    ),
    r'python tools/study\.py .*--slurm': (
        'asks a Slurm for nodes: tests/studies does so',
        arguments_parse,
    ),
    r'python tools/study\.py (reference_size|mask_by|masking)': (
        'trains a model, as tests/studies does for each study',
        study_lists_its_cells,
    ),
}


def not_run(command):
    """Why a command is not run, and what is checked instead."""
    text = ' '.join(command.words)
    found = [
        entry
        for start, entry in NOT_RUN.items()
        if re.match(rf'{start}\b', text)
    ]
    return found[0] if found else None


COMMANDS = {page: shown_commands(page) for page in PAGES}
WITH_COMMANDS = [page for page in PAGES if COMMANDS[page]]


@pytest.mark.parametrize('page', WITH_COMMANDS)
def test_commands_of_the_page_run(page, sandbox, monkeypatch, tmp_path):
    evidence = set((ROOT / 'evidence').rglob('*'))
    folder = sandbox(page)
    for command in COMMANDS[page]:
        weaker = not_run(command)
        with monkeypatch.context() as patch:
            if weaker:
                weaker[1](command, patch, folder)
            else:
                assert command.words[0] == 'python', command.text
                run_tool(command, patch, tmp_path / 'log')
    # a run of the tests must not replace a user's reports
    assert set((ROOT / 'evidence').rglob('*')) == evidence


@pytest.mark.parametrize('start', NOT_RUN)
def test_what_is_not_run_is_shown_somewhere(start):
    assert any(
        re.match(rf'{start}\b', ' '.join(command.words))
        for commands in COMMANDS.values()
        for command in commands
    )


def test_checkpoints_that_are_there_already_are_named_by_their_page():
    for page, checkpoints in THERE.items():
        for path in checkpoints:
            assert path in PAGES[page], path


@pytest.mark.parametrize('page', PAGES)
def test_all_commands_are_in_bash_blocks(page):
    assert unseen_commands(page) == []


@pytest.mark.parametrize(
    'command',
    [one for page in PAGES for one in inline_commands(page)],
    ids=lambda command: command.text,
)
def test_commands_in_sentences_parse(command):
    arguments_parse(command)


def test_a_command_that_fails_is_shown_with_its_output(
    sandbox, monkeypatch, tmp_path
):
    sandbox('README.md')
    with (
        pytest.raises(Failed, match='(?s)--no-such-flag.*ended with 2.*usage'),
        monkeypatch.context() as patch,
    ):
        run_tool(
            parse('python tools/train.py my_config.py --no-such-flag'),
            patch,
            tmp_path / 'log',
        )
