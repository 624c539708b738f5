"""The files of studies and grounds: what is read, and what is refused."""

import pytest
from helpers.tiny_studies import dump

from mmanchor.studies.spec import load_study

ONE = dict(name='one', method='standard')


def one(**changes):
    """A study of one setting."""
    return dict(settings=[dict(ONE, **changes)])


@pytest.mark.parametrize(
    'changes,message',
    [
        (dict(settings=[ONE, ONE]), "a name of its own.* got 'one' and 'one'"),
        (dict(settings=[ONE, dict(ONE, name='One!')]), "got 'one' and 'One!'"),
        (dict(settings=[]), 'to have settings, but got none'),
        (dict(seeds=[0, 1, 0]), 'each seed of .* once, but got 0, 1, 0'),
        (dict(seeds=[]), 'once, but got none'),
        (dict(seeds=[-1]), 'seeds to be integers from 0 on, but got -1'),
        (
            dict(metrics=['auroc_photograph']),
            "Did you mean 'auroc_photographs'",
        ),
        (one(ensemble=0), '1 or more, but got 0'),
        (one(ensemble=True), '1 or more, but got True'),
        (
            dict(one(ensemble=2), landscape=dict(points=3)),
            'no `ensemble` in .*, which has a `landscape`',
        ),
        (
            dict(metrics=['claen']),
            "among .* got 'claen'. Did you mean 'clean'",
        ),
        (
            dict(plot=dict(kind='pie')),
            "among lines, points, landscape.* 'pie'",
        ),
        (dict(plot=dict(colour=1)), "`plot` of .* got 'colour'. Remove it"),
        (dict(setings=[]), "got 'setings'. Did you mean 'settings'"),
        (dict(settings=[dict(name='one')]), 'setting 0 of .* to set method'),
        (one(method='maskt'), "Did you mean 'masked'"),
        (one(start='two'), "another setting, but got 'two'"),
        (one(start='one'), "another setting, but got 'one'"),
        (one(start=dict(method='m')), "but got 'm'"),
        (dict(landscape=dict(points=4)), 'an odd number from 3 on, but got 4'),
        (dict(landscape=dict(images=0)), '`reach` above 0, `images`.* 1.0, 0'),
        (
            dict(one(x=0), plot=dict(log=True)),
            'above 0 for a logarithmic axis, but got 0',
        ),
        (
            dict(variants=dict(digit={})),
            "`variants` of .* Did you mean 'digits'",
        ),
        (one(paper=dict(cifar1o={})), "Did you mean 'cifar10'"),
        (
            one(paper=dict(cifar10=dict(claen=1))),
            "`paper` of 'one' in .* Did you mean 'clean'",
        ),
        (dict(grounds=['digits']), 'on digits, .* but got --on tiny_ground'),
        (
            dict(
                settings=[
                    dict(ONE, start='two'),
                    dict(name='two', method='standard', start='one'),
                ]
            ),
            'one → two → one',
        ),
        (
            dict(baseline='standrad'),
            "`baseline` of .* Did you mean 'standard'",
        ),
        (dict(jobs={'speed': 'fast'}), "'speed' to be among clean, .* 'fast'"),
    ],
)
def test_mistakes_in_a_study_are_refused_by_name(changes, message, study_file):
    with pytest.raises(ValueError, match=message):
        load_study(study_file(**changes))


@pytest.mark.parametrize(
    'changes,message',
    [
        (
            dict(configs=dict(standard=dict(config='a.py', option={}))),
            "standard in .* to set config, options, .* Did you mean 'options'",
        ),
        (
            dict(configs=dict(standard=dict(options={}))),
            'to set config, but got',
        ),
        (dict(settings=dict(batchsize=3)), "Did you mean 'batch_size'"),
        (dict(shifted='Array'), "`shifted` of .* Did you mean 'Arrays'"),
    ],
)
def test_mistakes_in_a_ground_are_refused_by_name(
    changes, message, study_file, ground_file
):
    with pytest.raises(ValueError, match=message):
        load_study(study_file(), on=ground_file('bad', **changes))


def test_files_that_do_not_exist_are_named_with_the_nearest(
    study_file, ground_file, tmp_path
):
    with pytest.raises(FileNotFoundError, match="Did you mean 'masking'"):
        load_study('maskin')
    with pytest.raises(
        FileNotFoundError, match="a ground .*'digit'. Did you mean 'dig"
    ):
        load_study(study_file(), on='digit')
    file = study_file()
    ground = ground_file('bad', configs=dict(standard='digits/nothing.py'))
    with pytest.raises(FileNotFoundError, match='digits/nothing.py, in'):
        load_study(file, on=ground)
    with pytest.raises(ValueError, match='to set configs'):
        load_study(
            study_file(), on=dump(tmp_path / 'bad.py', dict(title='bad'))
        )


def test_variants_may_be_of_a_ground_beside_the_study(study_file, ground_file):
    ground_file('mine')
    file = study_file(variants=dict(mine=dict(seeds=[3])))
    assert load_study(file).seeds == (0, 1)
    assert load_study(file, str(ground_file('mine'))).seeds == (3,)
