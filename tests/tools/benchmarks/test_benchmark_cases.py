"""Models, images and cases of the benchmarks."""

import benchmark_cases
import naive_anchoring
import pytest
import torch
from benchmark_cases import (
    build_model_pair,
    check_predictions,
    endless_batches,
)
from helpers.few_rounds import few_rounds
from helpers.small_models import TwoAnswers  # noqa: F401
from mmengine.model import BaseModule
from mmengine.runner import save_checkpoint
from mmpretrain.registry import MODELS

from mmanchor import CONFIG_DIR


@MODELS.register_module()
class TokensOnly(BaseModule):
    """Has no convolution, as T2T-ViT."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.project = torch.nn.Linear(in_channels * 256, 64)

    def forward(self, x):
        return (self.project(x.flatten(1))[:, :, None, None],)


def test_configs_that_can_not_be_compared_are_refused(plain_config, tmp_path):
    path = plain_config(more="model = dict(type='MAE')\n")
    with pytest.raises(ValueError, match='ImageClassifier.*has MAE'):
        build_model_pair(str(path), few_rounds())
    by_hand = """
model.update(type='AnchoredImageClassifier', stem=[], image_channels=3,
             backbone=dict(type='TokensOnly', in_channels=6))
data_preprocessor.update(type='AnchoringDataPreprocessor')
"""
    with pytest.raises(ValueError, match='plain counterpart'):
        build_model_pair(str(plain_config(more=by_hand)), few_rounds())
    with pytest.raises(ValueError, match='`head`'):
        build_model_pair(
            str(plain_config(more='model.update(head=None)')), few_rounds()
        )


def test_a_backbone_without_a_stem_is_not_folded(plain_config):
    more = "model.update(backbone=dict(type='TokensOnly'))"
    settings = few_rounds(cases=['test/folded', 'test/mean'])
    pair = build_model_pair(str(plain_config(more=more)), settings)
    assert pair.anchored.stem == []
    cases = benchmark_cases.prediction_cases(pair, settings)
    assert list(cases) == ['standard', 'mean']
    assert set(check_predictions(pair, settings)) == {'mean'}


def test_a_head_may_have_several_outputs(plain_config):
    settings = few_rounds(cases=['test'])
    more = "model['head'].update(type='TwoAnswers')"
    pair = build_model_pair(str(plain_config(more=more)), settings)
    assert max(check_predictions(pair, settings).values()) < 1e-5
    cases = benchmark_cases.prediction_cases(pair, settings)
    naive, fast = cases['naive-mean'].call(), cases['mean'].call()
    torch.testing.assert_close(fast, naive, rtol=1e-4, atol=1e-4)


def test_predictions_are_compared_with_naive_ones_before_timing(
    plain_config, monkeypatch
):
    settings = few_rounds(cases=['test'])
    pair = build_model_pair(str(plain_config()), settings)
    found = check_predictions(pair, settings)
    assert sorted(found) == ['folded', 'mean', 'single', 'ties']
    assert max(found['folded'], found['mean'], found['single']) < 1e-5
    search = naive_anchoring.naive_search
    monkeypatch.setattr(
        naive_anchoring,
        'naive_search',
        lambda *args: search(*args).roll(1, dims=1),
    )
    with pytest.raises(ValueError, match='Expected transduction to predict'):
        check_predictions(pair, settings)
    monkeypatch.setattr(
        benchmark_cases,
        'naive_mean',
        lambda model, images, _: model(images.repeat(1, 2, 1, 1)),
    )
    with pytest.raises(
        ValueError, match='Expected folded to predict.* 4 of 4'
    ):
        check_predictions(pair, settings)


def test_untrained_weights_are_the_plain_model_s_but_for_references(
    plain_config,
):
    pair = build_model_pair(str(plain_config()), few_rounds())
    plain, model = pair.plain, pair.anchored
    reference, residual = model.backbone.conv1.weight.chunk(2, dim=1)
    assert torch.equal(residual, plain.backbone.conv1.weight)
    assert not torch.isclose(reference, residual).any()
    assert torch.equal(plain.head.fc.weight, model.head.fc.weight)


def test_a_checkpoint_brings_its_weights_and_its_references(
    plain_config, tmp_path
):
    path = str(plain_config())
    first = build_model_pair(path, few_rounds()).anchored
    first.reference_bank.fill(torch.full((2, 3, 16, 16), 7).byte())
    checkpoint = str(tmp_path / 'anchored.pth')
    save_checkpoint(dict(state_dict=first.state_dict()), checkpoint)
    pair = build_model_pair(path, few_rounds(), checkpoint)
    for key, value in first.backbone.state_dict().items():
        assert torch.equal(pair.anchored.backbone.state_dict()[key], value)
    assert torch.equal(pair.plain.head.fc.weight, first.head.fc.weight)
    assert len(pair.references) == 10
    assert (pair.references[:2] == 7).all()
    assert not (pair.references[2:] == 7).all()


def test_images_may_be_those_of_the_test_set():
    path = CONFIG_DIR / 'digits/resnet18-w16_anchored-masked_digits.py'
    pair = build_model_pair(str(path), few_rounds(data='test'))
    assert pair.images.shape == (16, 3, 16, 16)
    assert pair.residual_pairs.shape == (8, 2, 3, 16, 16)
    # digits have a dark ground, noise has none
    assert (pair.images == 0).float().mean() > 0.2
    with pytest.raises(ValueError, match=r'\(3, 8, 8\), but got \(3, 16, 16'):
        build_model_pair(str(path), few_rounds(data='test', size=8))


def test_batches_never_end_and_are_shuffled():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    batches = endless_batches(images, 3, 2, False, seed=0)
    seen = [next(batches) for _ in range(6)]
    order = torch.cat([batch['inputs'].flatten() for batch in seen]).tolist()
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert order[:6] != order[6:]
    labels = [int(s.gt_label) for batch in seen for s in batch['data_samples']]
    assert labels == [index % 3 for index in order]
