"""Models that a suite loads, describes or refuses."""

import numpy as np
import pytest
import torch
from helpers.tiny_suites import sets_of
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mmanchor.checkpoints.model_loading import check_classes
from mmanchor.evaluation.metrics import anomaly_rejection as anomaly_scores
from mmanchor.suite.candidates import Candidate


def poison(path, name='head.fc.bias', value=float('nan')):
    saved = torch.load(path, weights_only=False)
    saved['state_dict'][name][...] = value
    torch.save(saved, path)


def test_answers_that_are_not_finite(outcome, copied):
    _, path = copied()
    poison(path)
    found = outcome(checkpoint=str(path))
    assert [one['name'] for one in found.failed] == ['Digits', 'Arrays']
    for one in found.failed:
        assert 'Expected finite' in one['reason']
        assert 'NaN or infinity for ' in one['reason']
    assert sets_of(found) == [False]


def test_scores_that_are_not_finite(outcome, monkeypatch):
    score = anomaly_scores.AnomalyScore('pred_logits', lambda v: v[:, 0] / 0)
    monkeypatch.setitem(anomaly_scores.SCORES, 'energy', score)
    found = outcome()
    assert {one['name'] for one in found.failed} == {'Digits'}
    assert 'infinity for 40 of 40 images' in found.failed[0]['reason']
    assert sets_of(found) == [False, 'Arrays']


def test_a_model_without_errors_on_held_out_images_has_no_temperature(
    outcome, copied
):
    # a model that always predicts class 3, tested on images of class 3
    _, path = copied()
    poison(path, 'head.fc.weight', 0.0)
    saved = torch.load(path, weights_only=False)
    saved['state_dict']['head.fc.bias'][...] = torch.eye(10)[3]
    torch.save(saved, path)
    labels = DATASETS.build(dict(type='Digits', split='test')).get_gt_labels()
    threes = np.flatnonzero(labels == 3)[:20].tolist()
    found = outcome(
        f"clean['dataset'].update(indices={threes})",
        checkpoint=str(path),
        temperature=True,
    )
    (one,) = found.failed
    assert one['name'] == 'temperature on Digits'
    assert 'right on 2 of 2. Change to more held-out' in one['reason']
    assert sets_of(found)[:2] == [True, 'Arrays']
    assert len(found.models) == 1 and found.models[0]['temperature'] is None


@pytest.fixture
def candidate(trained):
    """Build one of the candidates, with changes to its config."""

    def make(word='anchored', checkpoint=None, **options):
        cfg = Config(getattr(trained, f'{word}_cfg').to_dict())
        cfg.merge_from_dict(options)
        return Candidate(
            word, cfg, checkpoint or getattr(trained, word)[1], f'{word}.py'
        )

    return make


def test_a_checkpoint_elsewhere(candidate):
    for path in ('https://a.org/b.pth', 's3://a/b.pth'):
        with pytest.raises(ValueError, match=f'on disk, but got {path}. Down'):
            candidate(checkpoint=path)


def test_a_checkpoint_cut_short(candidate, copied):
    _, path = copied()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match='whole checkpoint, but .*5000 bytes'):
        candidate(checkpoint=str(path))


def test_an_anchored_model_without_a_hook(candidate):
    found = candidate(custom_hooks=[])
    assert found.hook is None and found.how is None
    expected = '`KReferenceHook` in `custom_hooks` of anchored.py to say how'
    with pytest.raises(ValueError, match=expected):
        found.load('cpu')


def test_models_that_can_not_be_loaded_are_listed_once_and_others_go_on(
    trained, measured, tmp_path
):
    config, checkpoint = trained.standard
    several = dict(
        type='MultiLabelLinearClsHead', num_classes=10, in_channels=64
    )
    models = []
    for name, head in (
        ('seven', dict(Config.fromfile(config).model.head, num_classes=7)),
        ('several', several),
    ):
        cfg = Config.fromfile(config)
        cfg.model.head = head
        cfg.dump(tmp_path / f'{name}.py')
        models.append([tmp_path / f'{name}.py', checkpoint])
    results = measured(*models, trained.standard)
    seven, several = results['failed']
    assert (seven['model'], seven['name']) == ('seven', 'the model')
    assert 'differs in 2: size mismatch for head.fc.weight' in seven['reason']
    assert (several['model'], several['name']) == ('several', 'the model')
    assert 'ImageClassifier with MultiLabelLin' in several['reason']
    bad, _, good = results['models']
    assert bad['clean'] is None and bad['shifts'] == bad['ood'] == {}
    assert good['clean'] and good['shifts'] and good['ood']
    text = (tmp_path / 'out' / 'report.md').read_text()
    assert 'the model by seven: Expected the weights' in text


def test_references_that_nothing_has(candidate, tmp_path):
    source = {'custom_hooks.0.source': str(tmp_path / 'gone')}
    with pytest.raises(ValueError, match='gone.*, which is no folder'):
        candidate(**source, **{'custom_hooks.0.redraw': True}).load('cpu')
    with pytest.raises(ValueError, match='Expected .* but got'):
        candidate(
            **{
                'custom_hooks.0.num_references': 300,
                'train_dataloader.dataset.indices': 200,
            }
        ).load('cpu')


def test_more_references_than_the_checkpoint_holds_are_drawn(candidate):
    for number in (5, 2):
        options = {'custom_hooks.0.num_references': number}
        model = candidate(**options).load('cpu').model
        assert len(model.reference_bank.in_use) == number
        assert not model.training


def test_a_model_is_described_by_its_config_and_checkpoint(candidate):
    found = candidate(
        **{'custom_hooks.0.num_references': 2, 'custom_hooks.0.seed': 7}
    ).describe()
    assert found['classifier'] == 'AnchoredImageClassifier'
    assert found['config'] == 'anchored.py'
    of_references = dict(
        num_references=2,
        protocol='mean',
        average='logits',
        select='random',
        reference_seed=7,
    )
    assert of_references.items() <= found.items()
    plain = candidate('standard').describe()
    assert {plain[key] for key in of_references} == {None}


@pytest.mark.parametrize(
    'options',
    [
        {'custom_hooks.0.num_references': 2},
        {'custom_hooks.0.protocol': 'single'},
        {'model.average': 'probabilities'},
        {'val_dataloader.dataset.pipeline.0.scale': 12},
        {'data_preprocessor.mean': [81.0] * 3},
    ],
)
def test_settings_change_with_everything_that_results_depend_on(
    candidate, options
):
    assert candidate(**options).settings != candidate().settings
    assert candidate().settings == candidate(work_dir='elsewhere').settings


def test_a_set_in_another_order_fails_by_name(outcome, copied):
    _, path = copied()
    saved = torch.load(path, weights_only=False)
    meta = saved['meta']['dataset_meta']
    meta['classes'] = meta['classes'][::-1]
    torch.save(saved, path)
    found = outcome(checkpoint=str(path))
    assert 'Digits' in [one['name'] for one in found.failed]
    reason = found.failed[0]['reason']
    assert 'Expected the classes of Digits in the order of' in reason
    assert found.models[0]['clean'] is None


@pytest.mark.parametrize(
    'trained,tested',
    [(None, 'ab'), ('ab', None), ('ab', ['a', 'b']), ('ab', ('n1', 'n2'))],
)
def test_other_names_and_none_say_nothing(trained, tested):
    check_classes(trained, tested, 'x.pth', 'Set')


def test_the_first_that_differs_is_named():
    with pytest.raises(
        ValueError, match="class 1 is 'b' there and 'c' in Set. Number"
    ):
        check_classes('abc', 'acb', 'x.pth', 'Set')
