"""Scores of features against brute force."""

import numpy as np
import pytest
import torch
from torch import nn

from mmanchor.evaluation import fit_feature_score
from mmanchor.evaluation.feature_scores import FEATURE_SCORES, last_layer_of

WIDTH, CLASSES = 6, 3


def blobs(count, seed, shift=0.0):
    """Features of three classes around means of their own, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    means = torch.randn(
        CLASSES, WIDTH, generator=torch.Generator().manual_seed(9)
    )
    noise = torch.randn(count, WIDTH, generator=generator)
    return 3 * means[labels] + noise + shift, labels


@pytest.fixture
def layer():
    return nn.Linear(WIDTH, CLASSES)


@pytest.fixture
def fitted(layer):
    """Fit a score on 60 images, or as many as are given."""

    def fit(name, count=60):
        features, labels = blobs(count, 0)
        return fit_feature_score(name, features, labels, CLASSES, layer)

    return fit


@pytest.mark.parametrize('count, k', [(60, 1), (2600, 3)])
def test_knn_is_the_distance_to_the_kth_neighbour(fitted, count, k):
    train, test = blobs(count, 0)[0], blobs(20, 1)[0]
    distances = torch.cdist(
        nn.functional.normalize(test.double()),
        nn.functional.normalize(train.double()),
    )
    expected = distances.sort(1).values[:, k - 1]
    torch.testing.assert_close(
        fitted('KNN', count)(test), expected, rtol=1e-4, atol=1e-5
    )


def test_mahalanobis_is_that_of_numpy(fitted):
    train, labels = (one.numpy() for one in blobs(60, 0))
    test = blobs(20, 1)[0].numpy().astype(float)
    means = np.stack([train[labels == c].mean(0) for c in range(CLASSES)])
    scatter = np.cov((train - means[labels]).T.astype(float), ddof=0) * 60
    inverse = np.linalg.inv(scatter + 1e-6 * np.eye(WIDTH))
    gaps = test[:, None] - means
    expected = np.einsum('bcd,de,bce->bc', gaps, inverse, gaps).min(1) / 2
    found = fitted('Mahalanobis')(torch.from_numpy(test))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_react_is_the_energy_of_clipped_features(fitted, layer):
    train, test = blobs(60, 0)[0], blobs(20, 1)[0]
    limit = np.quantile(train.numpy(), 0.9)
    expected = -layer(test.clip(max=limit)).logsumexp(1).double()
    torch.testing.assert_close(
        fitted('ReAct')(test), expected, rtol=1e-5, atol=1e-5
    )


def test_vim_is_the_residual_less_the_energy(fitted, layer):
    train, test = blobs(60, 0)[0], blobs(20, 1)[0]
    weight, bias = (
        one.detach().numpy().astype(float)
        for one in (layer.weight, layer.bias)
    )
    origin = -np.linalg.pinv(weight) @ bias
    centred = train.numpy().astype(float) - origin
    # the directions of least variance, half of them
    rest = np.linalg.svd(centred)[2][WIDTH // 2 :].T
    logits = train.numpy() @ weight.T + bias
    norms = np.linalg.norm(centred @ rest, axis=1)
    scale = logits.max(1).mean() / norms.mean()
    of_test = np.linalg.norm((test.numpy() - origin) @ rest, axis=1)
    energy = -layer(test).logsumexp(1).detach().numpy()
    np.testing.assert_allclose(
        fitted('ViM')(test), scale * of_test + energy, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize('name', ['KNN', 'Mahalanobis'])
def test_images_far_away_score_higher(fitted, name):
    inside, outside = blobs(20, 1)[0], -3 * blobs(20, 1)[0]
    score = fitted(name)
    assert score(outside).mean() > 3 * score(inside).mean()


@pytest.mark.parametrize('name', FEATURE_SCORES)
def test_features_that_are_not_finite_score_nan(fitted, name):
    test = blobs(3, 1)[0]
    expected = fitted(name)(test)
    test[1, 2] = torch.inf
    found = fitted(name)(test)
    assert found.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(found[::2], expected[::2])


def test_training_features_that_are_not_finite_are_refused():
    features, labels = blobs(60, 0)
    features[3] = torch.nan
    with pytest.raises(
        ValueError, match='finite .* fit KNN, but got 60, 1 of'
    ):
        fit_feature_score('KNN', features, labels, CLASSES)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="ViM, .*but got 'kNN'"):
        fit_feature_score('kNN', *blobs(9, 0), CLASSES)


@pytest.mark.parametrize('name', ['ViM', 'ReAct'])
def test_a_head_without_a_last_layer_is_refused(name):
    with pytest.raises(ValueError, match=f'linear .* for {name}, '):
        fit_feature_score(name, *blobs(60, 0), CLASSES)


def test_a_class_without_images_is_refused_by_mahalanobis():
    features, labels = blobs(60, 0)
    with pytest.raises(ValueError, match='none of class 3 and 1 more. Raise'):
        fit_feature_score('Mahalanobis', features, labels, CLASSES + 2)


def test_too_few_images_for_a_covariance_are_refused(fitted):
    fitted('Mahalanobis', WIDTH + CLASSES)
    with pytest.raises(ValueError, match='at least 9 .*, but got 8. Raise'):
        fitted('Mahalanobis', WIDTH + CLASSES - 1)


@pytest.mark.parametrize(
    'package, name', [('pytorch_ood', 'ViM'), ('sklearn', 'KNN')]
)
def test_missing_packages_name_the_extra(
    without_package, fitted, package, name
):
    without_package(package)
    with pytest.raises(ImportError, match=r'`pip install "mmanchor\[ood\]"`'):
        fitted(name)


def test_the_last_layer_is_the_one_that_makes_the_logits(layer):
    features = torch.randn(5, WIDTH)
    head = nn.ModuleDict(dict(other=nn.Linear(WIDTH, CLASSES), fc=layer))
    assert last_layer_of(head, features, layer(features)) == 'fc'
    assert last_layer_of(head, features, 2 * layer(features)) is None
