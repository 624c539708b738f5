"""The host's ways to predict with a trained checkpoint and image files."""

from types import SimpleNamespace

import pytest
import torch
from mmcv import imwrite
from mmengine.dataset import Compose
from mmpretrain import (
    FeatureExtractor,
    ImageClassificationInferencer,
    get_model,
    inference_model,
)
from mmpretrain.registry import DATASETS, TRANSFORMS

K = 3  # of `trained`
NUM_IMAGES = 4


@pytest.fixture
def files(tmp_path):
    """Digits as image files."""
    dataset = DATASETS.build(
        dict(type='Digits', split='test', indices=NUM_IMAGES, pipeline=[])
    )
    paths = [str(tmp_path / f'{i}.png') for i in range(NUM_IMAGES)]
    for path, digit in zip(paths, dataset, strict=True):
        imwrite(digit['img'], path)
    return paths


@pytest.fixture
def model(trained):
    return get_model(*trained)


@pytest.fixture
def inputs(model):
    """The same digits as bytes, through the test pipeline."""
    steps = model._config.test_dataloader.dataset.pipeline
    dataset = DATASETS.build(
        dict(type='Digits', split='test', indices=NUM_IMAGES, pipeline=[])
    )
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    return torch.stack([pipeline(dict(d))['inputs'] for d in dataset])


@torch.no_grad()
def by_hand(model, inputs, function):
    """The mean of a function over references, one after the other."""
    normalise = model.data_preprocessor
    x = normalise(dict(inputs=inputs))['inputs']
    bank = normalise(dict(inputs=model.reference_bank.images))['inputs']
    assert len(bank) == K
    return torch.stack(
        [function(torch.cat([r.expand_as(x), x - r], dim=1)) for r in bank]
    ).mean(0)


@torch.no_grad()
def scores(samples):
    return torch.stack([sample.pred_score for sample in samples])


def test_get_model_has_the_references_of_the_checkpoint(
    trained, model, inputs
):
    saved = torch.load(trained[1], weights_only=False)['state_dict']
    assert torch.equal(
        model.reference_bank.images, saved['reference_bank.images']
    )
    assert len(model.reference_bank) == K
    expected = by_hand(model, inputs, model).softmax(1)
    torch.testing.assert_close(
        scores(model.test_step(dict(inputs=inputs))), expected
    )


@pytest.mark.parametrize('batch_size', [1, 3])
def test_inferencer(trained, files, inputs, model, batch_size):
    inferencer = ImageClassificationInferencer(*trained)
    results = inferencer(files, batch_size=batch_size)
    expected = by_hand(model, inputs, model).softmax(1)
    found = torch.stack([torch.from_numpy(r['pred_scores']) for r in results])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    labels = expected.argmax(1).tolist()
    assert [r['pred_label'] for r in results] == labels
    assert [r['pred_class'] for r in results] == [str(i) for i in labels]
    samples = inferencer(files, batch_size=batch_size, return_datasamples=True)
    torch.testing.assert_close(scores(samples), found)
    assert all(sample.pred_std.max() > 0 for sample in samples)


@pytest.mark.parametrize('stage', ['backbone', 'neck', 'pre_logits'])
def test_features_are_averaged_over_references(
    trained, files, inputs, model, stage
):
    found = FeatureExtractor(*trained)(files, stage=stage, batch_size=3)
    if stage != 'pre_logits':
        found = [feats[-1] for feats in found]

    def extract(anchored):
        feats = model.extract_feat(anchored, stage=stage)
        return feats if stage == 'pre_logits' else feats[-1]

    torch.testing.assert_close(
        torch.stack(found),
        by_hand(model, inputs, extract),
        rtol=1e-4,
        atol=1e-5,
    )


def test_inference_model(model, files):
    """It asks for the model zoo's word on the task, anchored or not."""
    with pytest.raises(NotImplementedError, match='No available inferencer'):
        inference_model(model, files[0])
    task = SimpleNamespace(task='Image Classification')
    model._metainfo = SimpleNamespace(results=[task])
    result = inference_model(model, files[0])
    (expected,) = ImageClassificationInferencer(model)(files[0])
    assert result['pred_label'] == expected['pred_label']
    assert result['pred_score'] == pytest.approx(expected['pred_score'])
