"""Anomaly scores of features, fitted on the features of training images."""

from collections.abc import Callable

import torch
from torch import nn

FEATURE_SCORES = ('KNN', 'ViM', 'Mahalanobis', 'ReAct')
# These work on the last layer too, which has to be linear.
OF_LAST_LAYER = ('ViM', 'ReAct')


def fit_feature_score(
    name: str,
    features: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    last_layer: nn.Linear | None = None,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Fit a detector of pytorch-ood on the features of training images.

    What the papers leave open is set by the numbers of images and features:

    - ``'KNN'``: the distance to the k-th nearest training image, features
      scaled to length 1, with k a thousandth of the images and at least 1
      (50 of CIFAR-10's 50,000, as in the paper).
    - ``'ViM'``: 1,000 principal dimensions of 1,500 features or more, 512 of
      more than 512, or else half of them.
    - ``'Mahalanobis'``: half the squared distance to the nearest class mean,
      one covariance for all classes, not divided by the number of images.
    - ``'ReAct'``: the energy of features cut off at the 90th percentile of
      all training activations.

    Args:
        name (str): One of ``FEATURE_SCORES``.
        features (torch.Tensor): What the last layer sees of each image.
        labels (torch.Tensor): The class of each.
        num_classes (int): Of the model.
        last_layer (torch.nn.Linear, optional): From features to logits, for
            ``'ViM'`` and ``'ReAct'``. Defaults to None.

    Shape:
        - features: (N, D)
        - labels: (N,)

    Returns:
        Callable: From features, (B, D), to scores, (B,), double, on the CPU;
        larger is more anomalous. NaN where features are not finite.

    Raises:
        ImportError: pytorch-ood is not installed, or scikit-learn for
            ``'KNN'``.
        ValueError: There is no such score, no last layer where one is
            needed, features are not finite, or there are too few images.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> score = fit_feature_score('KNN', x, torch.tensor([0, 1]), 2)
        >>> score(torch.tensor([[3.0, 0.0], [-1.0, 0.0]])).round(decimals=3)
        tensor([0.0000, 1.4140], dtype=torch.float64)

    Source: Sun et al., Out-of-Distribution Detection with Deep Nearest
    Neighbors, ICML 2022; Wang et al., ViM, CVPR 2022; Lee et al., A Simple
    Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks, NeurIPS 2018; Sun et al., ReAct, NeurIPS 2021.
    """
    if name not in FEATURE_SCORES:
        raise ValueError(
            f'Expected a score of features among {", ".join(FEATURE_SCORES)}, '
            f'but got {name!r}. Change it.'
        )
    if name in OF_LAST_LAYER and last_layer is None:
        raise ValueError(
            f'Expected a model whose logits are linear in its features for '
            f'{name}, which works on its last layer, but got one whose head '
            'does more than that. Choose KNN or Mahalanobis.'
        )
    features, labels = features.detach().cpu().float(), labels.cpu()
    if not len(features) or not features.isfinite().all():
        raise ValueError(
            'Expected finite features of one training image or more to fit '
            f'{name}, but got {len(features)}, '
            f'{(~features.isfinite().all(1)).sum().item()} of them with NaN '
            'or infinity. Change the checkpoint or the training set.'
        )
    detector = import_detectors()
    if name == 'KNN':
        try:
            knn = detector.KNN(None, k=max(1, round(len(features) / 1000)))
        except ImportError as error:
            raise ImportError(
                'KNN is computed by scikit-learn, which is not installed. '
                'Install it with `pip install "mmanchor[ood]"`.'
            ) from error
        return _guarded(knn.fit_features(features, labels).predict_features)
    if name == 'Mahalanobis':
        return _guarded(
            _fit_mahalanobis(detector, features, labels, num_classes)
        )
    weight, bias = last_layer.weight.detach().cpu().float(), last_layer.bias
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    bias = bias.cpu().float()
    if name == 'ViM':
        width = features.size(1)
        dims = 1000 if width >= 1500 else 512 if width > 512 else width // 2
        vim = detector.ViM(None, dims, weight, bias)
        return _guarded(vim.fit_features(features, labels).predict_features)
    react = detector.ReAct(
        None, lambda x: nn.functional.linear(x, weight, bias)
    )
    return _guarded(
        react.fit_feature_maps(features, labels).predict_feature_maps
    )


def import_detectors():
    """The detectors of pytorch-ood.

    Raises:
        ImportError: It is not installed.
    """
    try:
        from pytorch_ood import detector
    except ImportError as error:
        raise ImportError(
            f'The scores {", ".join(FEATURE_SCORES)} are computed by '
            'pytorch-ood, which is not installed. Install it with '
            '`pip install "mmanchor[ood]"`.'
        ) from error
    return detector


def _fit_mahalanobis(detector, features, labels, num_classes: int):
    counts = torch.bincount(labels, minlength=num_classes)
    lacking = (counts == 0).nonzero().flatten().tolist()
    if lacking:
        raise ValueError(
            'Expected training images of every class to fit Mahalanobis, but '
            f'got none of class {lacking[0]}'
            f'{f" and {len(lacking) - 1} more" if lacking[1:] else ""}. '
            'Raise --fit-share, or leave the score out.'
        )
    needed = features.size(1) + num_classes
    if len(features) < needed:
        raise ValueError(
            f'Expected at least {needed} training images to fit Mahalanobis, '
            'as many as there are features and classes, since a covariance '
            f'of fewer has no inverse, but got {len(features)}. Raise '
            '--fit-share, or leave the score out.'
        )
    found = detector.Mahalanobis(None).fit_features(features, labels)
    # The library inverts in single precision, which loses the small variances.
    found.precision = torch.linalg.inv(found.cov.double())
    found.mu = found.mu.double()
    return lambda x: found.predict_features(x.double())


def _guarded(score: Callable) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give NaN for features that are not finite, which libraries refuse."""

    def guarded(features: torch.Tensor) -> torch.Tensor:
        features = features.detach().cpu().float()
        finite = features.isfinite().all(1)
        found = score(features.where(finite[:, None], 0)).double()
        return found.where(finite, torch.nan)

    return guarded


def last_layer_of(
    head: nn.Module, features: torch.Tensor, logits: torch.Tensor
) -> str | None:
    """The name of the layer that makes logits from features, if there is one.

    Args:
        head (torch.nn.Module): Of a classifier.
        features (torch.Tensor): What its ``pre_logits`` gave.
        logits (torch.Tensor): Of the same images.

    Shape:
        - features: (B, D)
        - logits: (B, num_classes)

    Returns:
        str | None: As ``head.get_submodule`` takes it.

    Example:
        >>> head, x = nn.Sequential(nn.Linear(3, 2)), torch.rand(4, 3)
        >>> last_layer_of(head, x, head(x)), last_layer_of(head, x, -head(x))
        ('0', None)
    """
    for name, layer in head.named_modules():
        if (
            isinstance(layer, nn.Linear)
            and layer.in_features == features.size(1)
            and layer.out_features == logits.size(1)
        ):
            with torch.no_grad():
                found = layer(features.to(layer.weight))
            if torch.allclose(found, logits.to(found), rtol=1e-3, atol=1e-3):
                return name
    return None
