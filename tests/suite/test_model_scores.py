"""Scores of features and reverse anchoring, in suites."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from helpers.tiny_suites import candidate_of
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import DATASETS

from mmanchor.evaluation.feature_scores import FEATURE_SCORES
from mmanchor.functional import anchor
from mmanchor.models import reverse_anchoring
from mmanchor.suite import training_features as computing
from mmanchor.suite.candidates import Candidate
from mmanchor.suite.ensembles import EnsembleCandidate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.model_scores import (
    features_of,
    find_suite_score,
    vectors_of,
)
from mmanchor.suite.results import compare_scores
from mmanchor.suite.runner import check_scores
from mmanchor.suite.spec import Cell, Settings
from mmanchor.suite.training_features import (
    features_file,
    fit_feature_scores,
    training_features,
)

COUNT = 400  # training images of both models
CLEAN = Cell('Digits', dict(type='Digits', split='test', indices=40))
PHOTOS = Cell('Photographs', dict(type='PhotoPatches', size=16, count=30))


@pytest.fixture
def candidate(trained, tmp_path):
    """Copy one of the models into a folder of its own."""

    def make(word='standard', name='own'):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        path = shutil.copy(getattr(trained, word)[1], folder / f'{word}.pth')
        return Candidate(
            word, getattr(trained, f'{word}_cfg'), str(path), f'{word}.py'
        )

    return make


def test_features_of_anchored_models_are_means_over_references(candidate):
    model = candidate('anchored').load('cpu').model
    packed = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    images, references = (
        model.data_preprocessor(dict(inputs=one))['inputs']
        for one in (packed, model.reference_bank.in_use)
    )
    assert len(references) == 3
    with torch.no_grad():
        each = [
            model.extract_feat(anchor(images, one.expand_as(images)))[-1]
            for one in references
        ]
    expected = sum(each) / 3
    assert (each[0] - expected).abs().max() > 1e-3
    torch.testing.assert_close(
        features_of(model, packed), expected, rtol=1e-4, atol=1e-5
    )


def test_features_have_to_be_vectors(candidate):
    model = candidate().load('cpu').model
    for wrong in (torch.zeros(2, 3, 4, 4), (torch.zeros(2, 3),) * 2):
        with pytest.raises(TypeError, match='one vector .* got LinearClsHead'):
            vectors_of(model, wrong)
    assert vectors_of(model, (torch.zeros(2, 3),)).shape == (2, 3)


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_training_features_by_hand(candidate, word):
    one, shares = candidate(word), []
    ready, settings = one.load('cpu'), Settings(fit_share=0.25, batch_size=60)
    found = training_features(one, ready, settings, shares.append)
    rows = np.random.default_rng(0).permutation(COUNT)[: COUNT // 4]
    rows.sort()
    digits = DATASETS.build(
        one.cfg.val_dataloader.dataset
        | dict(split='train', indices=COUNT, type='Digits')
    )
    images = torch.stack([digits[int(row)]['inputs'] for row in rows])
    torch.testing.assert_close(
        found.features, features_of(ready.model, images), rtol=1e-4, atol=1e-5
    )
    assert found.labels.tolist() == digits.get_gt_labels()[rows].tolist()
    assert found.last_layer == 'fc'
    assert shares == [0.6, 1.0]


@pytest.fixture
def counted(monkeypatch):
    """Counts how often training images are passed through a model."""
    compute = Mock(wraps=computing._compute)
    monkeypatch.setattr(computing, '_compute', compute)
    return lambda: compute.call_count


def test_features_are_saved_beside_the_checkpoint(candidate, counted):
    one, settings = candidate(), Settings(fit_share=0.1)
    ready, path = one.load('cpu'), features_file(one, settings)
    first = training_features(one, ready, settings)
    assert path.parent == Path(one.checkpoint).parent
    assert path.name.startswith(f'features_{one.sha256[:16]}_')
    names = {file.name for file in path.parent.iterdir()}
    assert names == {path.name, 'standard.pth'}
    again = training_features(one, ready, settings)
    assert counted() == 1
    assert again.features.equal(first.features)
    assert again.labels.equal(first.labels)
    assert again.last_layer == first.last_layer
    more = training_features(one, ready, replace(settings, fit_share=0.2))
    assert counted() == 2 and len(more.features) == 2 * len(first.features)
    # damaged features are computed again
    path.write_bytes(path.read_bytes()[:-300])
    for _ in range(2):
        again = training_features(one, ready, settings)
        assert again.features.equal(first.features)
        assert counted() == 3


def test_features_of_another_pipeline_have_another_file(candidate):
    one = candidate()
    cfg = one.cfg.copy()
    cfg.val_dataloader = dict(cfg.val_dataloader)
    other = replace(one, cfg=cfg)
    assert features_file(one, Settings()) == features_file(other, Settings())
    cfg.test_dataloader = None
    cfg.val_dataloader['dataset'] = dict(
        cfg.val_dataloader['dataset'],
        pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')],
    )
    other = replace(one, cfg=cfg)
    assert features_file(one, Settings()) != features_file(other, Settings())


def test_features_of_another_checkpoint_are_refused(candidate):
    one, other, settings = candidate(), candidate('anchored'), Settings()
    training_features(other, other.load('cpu'), settings)
    shutil.copy(features_file(other, settings), features_file(one, settings))
    with pytest.raises(
        ValueError,
        match=f'another checkpoint .{other.sha256} then, {one.sha256} now.*Remove',
    ):
        training_features(one, one.load('cpu'), settings)


def test_folders_that_cannot_be_written_to_leave_nothing(
    candidate, monkeypatch
):
    one, settings = candidate(), Settings()
    monkeypatch.setattr(np, 'savez', Mock(side_effect=OSError('No space')))
    found = training_features(one, one.load('cpu'), settings)
    assert len(found.features) == COUNT // 10
    folder = Path(one.checkpoint).parent
    assert [path.name for path in folder.iterdir()] == ['standard.pth']


def test_training_images_without_exactly_one_label_are_refused(
    candidate, monkeypatch
):
    monkeypatch.setattr(
        'mmanchor.suite.training_features.training_set',
        lambda cfg: [
            dict(inputs=torch.zeros(3, 16, 16), data_samples=dict(gt_label=()))
        ],
    )
    one = candidate()
    with pytest.raises(ValueError, match='one label an image .* got 0. Leave'):
        training_features(one, one.load('cpu'), Settings())


NAMES = (*FEATURE_SCORES, 'reverse_anchoring', 'reverse_anchoring_mean')
MODELS = ('standard', 'anchored')


def test_suites_score_standard_and_anchored_models(outcome, trained):
    found = outcome(words=MODELS, scores=('msp', *NAMES), fit_share=1.0)
    assert found.failed == found.missing == []
    kept = [row['ood']['Photographs']['scores'] for row in found.models]
    assert list(kept[0]) == ['msp', *FEATURE_SCORES]
    assert list(kept[1]) == ['msp', *NAMES]
    for word, scores in zip(MODELS, kept):
        one = candidate_of(trained, word)
        ready = one.load('cpu')
        settings = Settings(fit_share=1.0)
        assert features_file(one, settings).is_file()
        fitted = fit_feature_scores(
            FEATURE_SCORES,
            ready,
            training_features(one, ready, settings),
            pytest.fail,
        )
        inside, outside = (
            torch.cat(list(ImageBatches(cell, ready.pipeline)))
            for cell in (CLEAN, PHOTOS)
        )
        for name, score in fitted.items():
            expected = compare_scores(
                score(features_of(ready.model, inside)).numpy(),
                score(features_of(ready.model, outside)).numpy(),
            )
            assert scores[name]['auroc'] == pytest.approx(expected['auroc'])
    reverse = [
        reverse_anchoring(
            ready.model,
            ready.model.data_preprocessor(dict(inputs=images))['inputs'],
        )
        for images in (inside, outside)
    ]
    for name, values in (
        ('reverse_anchoring', [one.amax(1) for one in reverse]),
        ('reverse_anchoring_mean', [one.mean(1) for one in reverse]),
    ):
        expected = compare_scores(*(one.numpy() for one in values))['auroc']
        assert scores[name]['auroc'] == pytest.approx(expected, abs=1e-3)


def test_a_suite_goes_on_where_a_score_cannot_be_fitted(outcome, counted):
    # a tenth of the images are fewer than the features
    found = outcome(scores=('Mahalanobis', 'KNN', 'msp'))
    (one,) = found.failed
    assert (one['model'], one['name']) == ('standard', 'Mahalanobis')
    assert 'to fit Mahalanobis' in one['reason']
    scores = found.models[0]['ood']['Photographs']['scores']
    assert list(scores) == ['KNN', 'msp']
    again = outcome(scores=('Mahalanobis', 'KNN', 'msp'))
    assert again.models == found.models and again.failed == found.failed


def test_scores_come_once_the_training_set_is_there(outcome, monkeypatch):
    with monkeypatch.context() as patch:
        lacking = Mock(side_effect=ValueError('It could not be read'))
        patch.setattr(computing, 'training_set', lacking)
        found = outcome(scores=('KNN', 'msp'), fit_share=0.3)
    (one,) = found.failed
    assert one['name'] == 'KNN' and 'could not be read' in one['reason']
    assert list(found.models[0]['ood']['Photographs']['scores']) == ['msp']
    found = outcome(scores=('KNN', 'msp'), fit_share=0.3)
    assert found.failed == []
    scores = found.models[0]['ood']['Photographs']['scores']
    assert list(scores) == ['KNN', 'msp']


def test_heads_that_do_more_have_scores_of_features_alone(
    candidate, monkeypatch
):
    one, settings = candidate(), Settings(fit_share=1.0)
    ready = one.load('cpu')
    monkeypatch.setattr(
        type(ready.model.head),
        'pre_logits',
        lambda head, feats: feats[-1] ** 2 + ClsHead.pre_logits(head, feats),
    )
    ready.model.head.forward = lambda feats: ready.model.head.fc(feats[-1])
    found, failed = training_features(one, ready, settings), []
    fitted = fit_feature_scores(
        ('KNN', 'ViM', 'ReAct'),
        ready,
        found,
        lambda name, error: failed.append((name, str(error))),
    )
    assert found.last_layer is None and list(fitted) == ['KNN']
    assert [name for name, _ in failed] == ['ViM', 'ReAct']
    assert 'linear in its features' in failed[0][1]


def test_reverse_anchoring_is_for_anchored_models_only(outcome):
    with pytest.raises(
        ValueError,
        match='an anchored model .* score reverse_anchoring, but got standard',
    ):
        outcome(scores=('energy', 'reverse_anchoring'))


def test_scores_of_one_model_are_refused_for_ensembles(candidate):
    first = candidate('anchored')
    second = replace(first)
    second.__dict__['sha256'] = 'another'
    both = EnsembleCandidate('both', (first, second))
    for name in ('KNN', 'reverse_anchoring'):
        with pytest.raises(
            ValueError, match=f'no ensemble .* {name}, .* both'
        ):
            check_scores([both], [name])
        check_scores([both, first], [name])


def test_unknown_scores_are_refused_with_all_that_suites_know():
    with pytest.raises(
        ValueError, match="energy, .* got 'kNN'. .*KNN, ViM, .*reverse_anchor"
    ):
        find_suite_score('kNN')


@pytest.mark.parametrize('share', [0, 1.1])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match='--fit-share .* above 0'):
        Settings(fit_share=share)


def test_the_command_takes_scores_and_share(trained, measured):
    results = measured(
        trained.anchored, scores=['KNN', 'reverse_anchoring'], fit_share=0.5
    )
    (model,) = results['models']
    scores = model['ood']['Photographs']['scores']
    assert list(scores) == ['KNN', 'reverse_anchoring']
    assert results['settings']['fit_share'] == 0.5
