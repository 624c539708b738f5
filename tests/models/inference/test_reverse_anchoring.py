"""The test image as the reference, references as queries."""

import pytest
import torch
from helpers.builders import build_model, image_bytes
from helpers.small_models import build, disagreeing, one_by_one

from mmanchor.functional import anchor
from mmanchor.models import bank_labels, reverse_anchoring


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32)


@pytest.fixture
def varied():
    """A model that predicts several classes for its references."""
    model = disagreeing(k=5)
    logits = one_by_one(model, queries_of(model)).mean(0)
    model.head.fc.bias.data -= logits.mean(0)
    assert len((logits - logits.mean(0)).argmax(1).unique()) > 1
    return model


def queries_of(model):
    return model.data_preprocessor(dict(inputs=model.reference_bank.in_use))[
        'inputs'
    ]


def by_hand(model, images, labels):
    """Pair by pair."""
    queries = queries_of(model)
    found = torch.empty(len(images), len(queries))
    for i, image in enumerate(images):
        for j, query in enumerate(queries):
            with torch.no_grad():
                logits = model(anchor(query[None], image[None]))
            found[i, j] = torch.nn.functional.cross_entropy(
                logits, labels[j][None]
            )
    return found


@pytest.mark.parametrize('name', ['convolution', 'patches'])
def test_each_pair_by_hand(images, name):
    model = disagreeing(name, k=3)
    labels = torch.tensor([6, 0, 2])
    found = reverse_anchoring(model, images, labels)
    torch.testing.assert_close(
        found, by_hand(model, images, labels), rtol=1e-4, atol=1e-5
    )
    assert found.std(0).min() > 0  # it depends on the test image


def test_labels_are_the_model_s_own_predictions(images, varied):
    expected = one_by_one(varied, queries_of(varied)).mean(0).argmax(1)
    assert bank_labels(varied).equal(expected)
    assert reverse_anchoring(varied, images).equal(
        reverse_anchoring(varied, images, expected)
    )


def test_labels_of_adaptive_models_are_in_the_order_of_the_bank(varied):
    expected = bank_labels(varied)
    varied.protocol = dict(type='adaptive', standard_errors=3)
    assert bank_labels(varied).equal(expected)


def test_queries_are_the_references_in_use(images):
    model = build('convolution', k=5)
    labels = torch.arange(5)
    found = reverse_anchoring(model, images, labels)
    model.reference_bank.use(2)
    torch.testing.assert_close(
        reverse_anchoring(model, images, labels[:2]), found[:, :2]
    )
    model.protocol = 'single'
    assert reverse_anchoring(model, images).shape == (4, 1)


def test_as_many_labels_as_queries(images):
    with pytest.raises(ValueError, match=r'5 references in use.*\(4,\)'):
        reverse_anchoring(build('convolution'), images, torch.zeros(4))


@pytest.mark.parametrize(
    'model,words',
    [
        (dict(type='ImageClassifier'), 'Anchored.* but got ImageClassifier'),
        (dict(anchor_at='layer2'), "anchor_at='layer2', whose"),
    ],
    ids=['plain', 'features'],
)
def test_models_that_anchor_no_images_are_refused_by_name(
    images, model, words
):
    model = build_model(**model)
    with pytest.raises(TypeError, match=words):
        bank_labels(model)
    with pytest.raises(TypeError, match=words):
        reverse_anchoring(model, images)


def test_images_of_another_size_are_refused():
    model = build('convolution')
    model.reference_bank.fill(image_bytes(2, size=16))
    with pytest.raises(ValueError, match='shape'):
        reverse_anchoring(
            model, torch.zeros(1, 3, 32, 32), torch.zeros(2).long()
        )
