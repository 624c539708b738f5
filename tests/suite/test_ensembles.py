"""Deep ensembles: several checkpoints of one config, measured as one."""

import pytest
import torch
from torch import nn

from mmanchor.functional import energy
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.cli import split_models
from mmanchor.suite.ensembles import DeepEnsemble, EnsembleCandidate
from mmanchor.suite.held_out import HeldOutFit
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import measure, predict_batch
from mmanchor.suite.spec import Cell

DIGITS = Cell('Digits', dict(type='Digits', split='test', indices=60))


def change(path, cfg=None, classes=None):
    """Change the weights of a checkpoint a little, and its metadata."""
    saved = torch.load(path, weights_only=False)
    generator = torch.Generator().manual_seed(0)
    for name, weight in saved['state_dict'].items():
        if weight.is_floating_point() and name.endswith('.weight'):
            noise = torch.randn(weight.shape, generator=generator)
            weight += 0.1 * weight.std() * noise
    if cfg is not None:
        before = saved['meta']['cfg']
        saved['meta']['cfg'] = cfg(before)
        assert saved['meta']['cfg'] != before
    if classes is not None:
        saved['meta']['dataset_meta'] = dict(classes=classes)
    torch.save(saved, path)


@pytest.fixture
def two(trained, copied):
    """Two checkpoints of one config, as candidates."""

    def make(word='standard', **changes):
        _, path = copied(word)
        change(path, **changes)
        return tuple(
            Candidate(word, getattr(trained, f'{word}_cfg'), str(one), 'a.py')
            for one in (getattr(trained, word)[1], path)
        )

    return make


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_probabilities_are_averaged_and_scores_made_from_mean_logits(
    word, two
):
    members = two(word)
    ready = EnsembleCandidate('both', members).load('cpu')
    images = next(iter(ImageBatches(DIGITS, ready.pipeline)))
    found = predict_batch(ready.model, images)
    alone = [predict_batch(one.load('cpu').model, images) for one in members]
    scores = [one['pred_score'].double() for one in alone]
    assert (scores[0] - scores[1]).abs().max() > 0.01
    mean = sum(scores) / 2
    torch.testing.assert_close(found['pred_score'].double(), mean)
    torch.testing.assert_close(found['answer'].double(), mean.log())
    logits = sum(one['pred_logits'] for one in alone) / 2
    torch.testing.assert_close(found['pred_logits'], logits)
    assert energy(found['pred_logits']).std() > 0.01
    assert energy(found['answer']).abs().max() < 1e-5  # useless as a score
    assert ('pred_std' in found) == (word == 'anchored')


def test_members_have_their_own_references(two):
    members = two('anchored')
    saved = torch.load(members[1].checkpoint, weights_only=False)
    bank = saved['state_dict']['reference_bank.images']
    bank[...] = 255 - bank
    torch.save(saved, members[1].checkpoint)
    ensemble = EnsembleCandidate('both', members).load('cpu').model
    banks = [one.reference_bank.images for one in ensemble.members]
    assert torch.equal(banks[0], 255 - banks[1])
    assert len(banks[0]) == 3


def test_a_temperature_divides_the_logarithm_of_the_mean(two):
    ready = EnsembleCandidate('both', two()).load('cpu')
    batches = ImageBatches(DIGITS, ready.pipeline)
    before, after = measure(
        ready, batches, 'cpu', (HeldOutFit(), HeldOutFit(2.0))
    )
    (images,) = batches
    mean = predict_batch(ready.model, images)['pred_score'].double()
    shrunk = mean.sqrt() / mean.sqrt().sum(1, keepdim=True)
    rows = torch.arange(60)
    for found, scores in ((before, mean), (after, shrunk)):
        nll = -scores[rows, batches.labels].log().mean().item()
        assert found.figures['nll'] == pytest.approx(nll, rel=1e-5)
    assert before.figures['top1'] == after.figures['top1']


def test_two_equal_members_are_the_one(trained):
    one = Candidate('one', trained.anchored_cfg, trained.anchored[1], 'a.py')
    ready = one.load('cpu')
    twice = ready._replace(model=DeepEnsemble([ready.model, ready.model]))
    batches = ImageBatches(DIGITS, ready.pipeline)
    options = dict(device='cpu', single_references=True)
    (first,) = measure(ready, batches, **options)
    (second,) = measure(twice, batches, **options)
    assert first.figures['top1_reference_3'] > 0
    assert second.figures == pytest.approx(first.figures, abs=1e-5)


def test_the_halves_of_stems_are_as_far_apart_as_on_average():
    models = [nn.Module(), nn.Module()]
    models[0].stem_distance, models[1].stem_distance = 0.2, 0.4
    assert DeepEnsemble(models).stem_distance == pytest.approx(0.3)
    assert DeepEnsemble([models[0], nn.Module()]).stem_distance is None


def test_the_command_takes_checkpoints_with_plus_signs(
    trained, copied, measured, tmp_path
):
    config, path = copied()
    change(path)
    results = measured(
        [*trained.standard, '+', path],
        trained.standard,
        trained.anchored,
        num_references=3,
        temperature=True,
        more='\nheld_out = dict(share=0.5)',
    )
    assert not results['failed']
    both, scaled, alone, *_ = results['models']
    assert both['name'] == 'standard, ensemble of 2'
    assert scaled['name'].startswith('standard, ensemble of 2, T = ')
    assert alone['name'] == 'standard'
    assert both['ensemble'] == 2 and 'ensemble' not in alone
    assert both['checkpoint'] == f'…/epoch_4.pth + …/{path.name}'
    assert both['sha256'].startswith(f'{alone["sha256"]} + ')
    assert both['clean']['figures']['nll'] != alone['clean']['figures']['nll']
    text = (tmp_path / 'out' / 'report.md').read_text()
    assert '| standard, ensemble of 2 |' in text
    assert '- Ensembles average the probabilities of their members.' in text
    # the file beside a checkpoint belongs to that checkpoint only
    assert not path.with_suffix('.temperature.json').exists()


@pytest.mark.parametrize(
    'words',
    [
        '+ a.py 1.pth',
        'a.py + 1.pth',
        'a.py 1.pth +',
        'a.py 1.pth + + 2.pth',
        'a.py 1.pth + 2.pth b.py',
    ],
)
def test_a_plus_sign_without_two_checkpoints(words):
    words = words.split()
    with pytest.raises(
        ValueError, match=f'but got {len(words)} arguments: .*CHECKPOINT'
    ):
        split_models(words)


def test_one_checkpoint_twice_or_a_single_one_is_no_ensemble(
    trained, copied, measured
):
    config, path = copied()
    with pytest.raises(ValueError, match=f'{path} are the same. Leave one'):
        measured([*trained.standard, '+', path])
    one = Candidate('one', trained.standard_cfg, trained.standard[1], 'a.py')
    with pytest.raises(ValueError, match='Expected two checkpoints.* got 1:'):
        EnsembleCandidate('alone', (one,))


@pytest.mark.parametrize(
    'changes,message',
    [
        (
            dict(classes=tuple('abcdefghij')),
            "`classes.0` = '0' in .*, and 'a' in",
        ),
        (
            dict(cfg=lambda text: text.replace('lr=0.1', 'lr=0.3')),
            '`config.optim_wrapper.optimizer.lr` = 0.1 in .*, and 0.3 in',
        ),
    ],
)
def test_checkpoints_that_were_not_trained_alike(
    changes, message, two, measured, trained
):
    members = two(**changes)
    with pytest.raises(ValueError, match=f'of one config.*{message}'):
        EnsembleCandidate('both', members).check_members()
    one, other = (member.checkpoint for member in members)
    with pytest.raises(ValueError, match=message):
        measured([trained.standard[0], one, '+', other])


@pytest.mark.parametrize(
    'cfg',
    [
        lambda text: (
            f'{text}\nrandomness = dict(seed=7)\nwork_dir = "elsewhere"'
        ),
        lambda text: text.replace('num_workers=0', 'num_workers=3'),
        lambda text: 'model = made_by(another, tool)',
        lambda text: 'print("run")',
        lambda text: None,
    ],
)
def test_seeds_and_folders_may_differ_and_configs_are_not_run(
    cfg, two, capsys
):
    EnsembleCandidate('both', two(cfg=cfg)).check_members()
    assert capsys.readouterr().out == ''
