"""Measures one model on one test set: predictions, then metrics."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmpretrain.registry import METRICS
from torch import nn

from ..evaluation.confidence_intervals import (
    normal_interval,
    wilson_interval,
)
from ..evaluation.metrics.accuracy import SingleReferenceAccuracy
from ..evaluation.metrics.per_image import (
    PerImageMetric,
    check_images,
    mark_nonfinite,
)
from ..evaluation.metrics.predicted_batch import (
    KeptClasses,
    PredictedBatch,
    class_labels,
)
from ..functional import (
    VectorScaling,
    average_references,
    reference_spread,
)
from ..models import AnchoredImageClassifier
from ..registry import UNCERTAINTIES, find_registered
from ..utils.pytorch import copy_to_device
from .candidates import LoadedModel
from .ensembles import DeepEnsemble
from .held_out import HeldOutFit, Scaling, scaled
from .images import ImageBatches
from .model_scores import FeatureScores, ModelFields, find_suite_score
from .results import HIGH, LOW

NUM_BINS = 15
# the registered metrics that a suite computes
METRIC_CONFIGS = (
    dict(type='Top1Accuracy'),
    dict(
        type='CalibrationError', num_bins=NUM_BINS, norms=('l1', 'l2', 'max')
    ),
    dict(type='SmoothedCalibrationError'),
    dict(type='NegativeLogLikelihood'),
    dict(type='BrierScore'),
    dict(type='AreaUnderRiskCoverage'),
    dict(type='ReferenceSpread'),
    dict(type='ReferencesUsed'),
)
# metrics of references, with the field that the predictions must have
REFERENCE_METRICS = dict(
    ReferenceSpread='pred_std', ReferencesUsed='num_references'
)
# metrics that are means of one number for each image, by the metric's class
MEANS = dict(
    NegativeLogLikelihood='nll',
    BrierScore='brier',
    ReferenceSpread='spread',
    ReferencesUsed='mean_used',
)


@torch.no_grad()
def predict_batch(
    model: nn.Module, images: torch.Tensor, measures: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """Predict a batch, with one tensor for each field of the predictions.

    The fields are bitwise equal to those of ``model.test_step``, which returns
    one data sample for each image, plus the logits of plain models.

    For an ensemble ``pred_score`` is the mean of the members' probabilities,
    and ``answer`` is the logarithm of that, which a temperature divides. All
    other fields are averaged as they are. So scores of logits, such as energy,
    are computed from mean logits: the energy of a logarithm of probabilities
    would be 0 for all images.

    Args:
        model (torch.nn.Module): A host classifier, anchored or not, or a
            :class:`~mmanchor.suite.ensembles.DeepEnsemble`, in evaluation
            mode.
        images (torch.Tensor): As the test pipeline packs them.
        measures (Sequence[str]): Names in ``UNCERTAINTIES``, to compute for
            anchored models. Defaults to none.

    Shape:
        - images: (B, C, H, W)
        - output: ``answer``, ``pred_score`` (its softmax) and
          ``pred_logits`` (B, num_classes). Anchored models add
          ``num_references`` (B,); ``pred_std`` (B, num_classes) unless they
          are adaptive; and ``reference_logits`` (B, num_classes, K) if all
          images have the same K > 1 references
    """
    if isinstance(model, DeepEnsemble):
        return _predict_ensemble(model.members, images)
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    if isinstance(model, AnchoredImageClassifier):
        return _predict_anchored(model, images, measures)
    logits = plain_logits(model, images).float()
    return dict(
        answer=logits, pred_score=logits.softmax(1), pred_logits=logits
    )


def _predict_ensemble(members, images) -> dict[str, torch.Tensor]:
    each = [predict_batch(one, images) for one in members]
    fields = {
        name: torch.stack([one[name].float() for one in each]).mean(0)
        for name in each[0]
    }
    fields['answer'] = _log_of_mean([one['answer'] for one in each])
    if 'reference_logits' in fields:
        # the first references of all members together, the second ones, ...
        fields['reference_logits'] = _log_of_mean(
            [one['reference_logits'].movedim(1, -1) for one in each]
        ).movedim(-1, 1)
    return fields


def _log_of_mean(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    return average_references(torch.stack(list(logits)), 'probabilities')


def _predict_anchored(model, images, measures) -> dict[str, torch.Tensor]:
    parts, order = [], []
    for rows, logits in model.answers(images):
        answer = average_references(logits, model.average)
        used = torch.full((len(answer),), len(logits), device=answer.device)
        part = dict(
            answer=answer,
            pred_score=answer.softmax(1),
            pred_logits=logits.mean(0),
            num_references=used,
        )
        if model.protocol.same_number:
            part['pred_std'] = reference_spread(logits)
        for name in measures:
            part[name] = find_registered(name, UNCERTAINTIES)(logits)
        parts.append(part)
        order.append(rows)
    if len(parts) == 1:
        if len(logits) > 1 and model.protocol.name == 'mean':
            parts[0]['reference_logits'] = logits.permute(1, 2, 0)
        return parts[0]
    place = copy_to_device(torch.cat(order).argsort(), images.device)
    return {
        name: torch.cat([part[name] for part in parts])[place]
        for name in parts[0]
    }


def plain_logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Compute the logits of a plain classifier.

    Args:
        model (torch.nn.Module): A host classifier that is not anchored.
        images (torch.Tensor): Normalised images.

    Shape:
        - images: (B, C, H, W)
        - output: (B, num_classes)
    """
    # Some heads combine several outputs in `predict`, so this calls it and
    # only skips its last step. The method is replaced on a shallow copy, which
    # shares the weights, so that other threads never see it.
    head = copy.copy(model.head)
    head._get_predictions = lambda scores, samples: scores
    return head.predict(model.extract_feat(images), None)


class Measured(NamedTuple):
    """The results of one pass over a test set.

    Attributes:
        figures (Dict[str, float]): Metrics by name: ``top1`` in %, ``ece`` and
            so on; None if a model does not have one. ``top1_low`` and
            ``top1_high`` are the ends of a 95 % confidence interval. Empty
            for out-of-distribution images.
        reliability (Dict[str, list]): For each of 15 bins of confidence, the
            ``count`` of images, the sum of their ``confidence``, and the
            number that are ``right``.
        scores (Dict[str, np.ndarray]): The anomaly scores, each (N,).
        answers (torch.Tensor, optional): Logits, (N, num_classes), if asked
            for.
        images (Dict[str, np.ndarray], optional): The prediction for each
            image, if asked for: ``label``, ``predicted`` and ``confidence``
            (N,); ``spread`` (N,) of models with several references; and the
            predictions with each reference alone, if all images have the same
            references: ``reference_predicted`` and ``reference_confidence``
            (N, K).
        right (np.ndarray, optional): Whether the prediction for each image is
            right, (N,), bool; None without labels.
    """

    figures: dict[str, float | None]
    reliability: dict[str, list]
    scores: dict[str, np.ndarray]
    answers: torch.Tensor | None = None
    images: dict[str, np.ndarray] | None = None
    right: np.ndarray | None = None


def measure(
    loaded: LoadedModel,
    batches: ImageBatches,
    device: str,
    fits: Sequence[HeldOutFit] = (HeldOutFit(),),
    figures: bool = True,
    scores: Sequence[str] = (),
    kept_classes: Sequence[int] | None = None,
    amp: bool = False,
    keep_answers: bool = False,
    single_references: bool = False,
    keep_images: bool = False,
    feature_scores: FeatureScores | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> list[Measured]:
    """Measure a model in one pass over a test set.

    The metrics equal those that a runner computes with the registered classes.
    What they need of each image stays on the device until the end. Labels are
    checked on the CPU, so that no metric waits for a GPU in each batch.

    Args:
        fits (Sequence[HeldOutFit]): How logits are scaled before the softmax.
            The metrics are computed for each. Defaults to one that leaves
            them unchanged.
        figures (bool): Whether to compute metrics, which need labels.
            Defaults to True.
        scores (Sequence[str]): Anomaly scores to compute. Defaults to none.
        kept_classes (Sequence[int], optional): The only classes that may be
            predicted. Defaults to those that the data set declares.
        keep_answers (bool): Whether to return the logits whose softmax is the
            prediction. Defaults to False.
        single_references (bool): Whether to compute the accuracy with each
            reference alone too, for models with several references for every
            image. Defaults to False.
        keep_images (bool): Whether to return the prediction for each image,
            with the first of ``fits``. Defaults to False.
        feature_scores (dict, optional): Fitted scores of features, by name.
            Defaults to none.
        report (Callable): Called with the number of images of each batch.

    Returns:
        list[Measured]: One for each of ``fits``.

    Raises:
        ValueError: There are no images, the model and the set differ in the
            number of classes, a label is out of range, or predictions are not
            finite.
    """
    if not len(batches):
        raise ValueError(
            'Expected one image or more to measure on, but got '
            'none. Change the data set, or `share` of '
            '`held_out`.'
        )
    kept = batches.kept_classes if kept_classes is None else kept_classes
    kept = None if kept is None else KeptClasses(kept)
    scalings = [_on_device(fit.scaling, device) for fit in fits]
    labels: torch.Tensor | None = None
    wanted = {name: find_suite_score(name) for name in scores}
    more_fields = ModelFields(loaded.model, scores, feature_scores)
    metrics: dict[str, PerImageMetric] = {}
    rows: list[dict[str, list]] = [{} for _ in fits]
    kept_answers, kept_images, start = [], [], 0

    def metrics_with(fit: HeldOutFit) -> dict[str, PerImageMetric]:
        return {**metrics, **fit.metrics} if figures else metrics

    for images in batches:
        stop = start + len(images)
        images = copy_to_device(images, device)
        with torch.autocast(torch.device(device).type, enabled=amp):
            fields = predict_batch(loaded.model, images)
            fields.update(more_fields(images))
        answer = fields.pop('answer').float()
        _check_classes(answer, batches)
        if not metrics and figures:
            metrics = _metrics(fields)
            if single_references and 'reference_logits' in fields:
                metrics['SingleReferenceAccuracy'] = SingleReferenceAccuracy()
        if figures and labels is None:
            labels = class_labels(batches.labels, answer.size(1), kept)
        of_batch = (
            None
            if labels is None
            else copy_to_device(labels[start:stop], device)
        )
        if keep_answers:
            kept_answers.append(answer)
        if keep_images:
            kept_images.append(_predictions_for_page(fields, kept))
        start = stop
        for fit, scaling, columns in zip(fits, scalings, rows):
            logits = scaled(answer, scaling)
            scaled_fields = dict(fields, answer=logits)
            if fit.scaling != 1.0:
                scaled_fields['pred_score'] = logits.softmax(1)
            predicted = PredictedBatch(scaled_fields, kept, of_batch)
            for name, metric in metrics_with(fit).items():
                columns.setdefault(name, []).append(metric.rows_of(predicted))
            for name, score in wanted.items():
                if score.field in predicted:
                    values = predicted[score.field]
                    column = mark_nonfinite(
                        score.function(values.double()), values
                    )
                    columns.setdefault(f'score {name}', []).append(column)
        report(len(images))
    answers = torch.cat(kept_answers) if kept_answers else None
    results = [
        _finish(metrics_with(fit), columns, answers)
        for fit, columns in zip(fits, rows)
    ]
    if keep_images:
        columns = {
            name: torch.cat([part[name] for part in kept_images]).cpu().numpy()
            for name in kept_images[0]
        }
        columns['label'] = batches.labels.numpy()
        results[0] = results[0]._replace(images=columns)
    return results


def _on_device(scaling: Scaling, device: str) -> Scaling:
    if not isinstance(scaling, VectorScaling):
        return scaling
    return VectorScaling(*(copy_to_device(part, device) for part in scaling))


def _predictions_for_page(fields, kept) -> dict[str, torch.Tensor]:
    """The predictions for the images of a batch, for people to look at."""
    scores = fields['pred_score'].float()
    if kept is not None:  # the other classes may not be predicted
        classes = kept.on(scores.device)
        scores = torch.full_like(scores, -1).index_copy(
            1, classes, scores.index_select(1, classes)
        )
    confidence, predicted = scores.max(1)
    columns = dict(predicted=predicted, confidence=confidence)
    if 'pred_std' in fields:
        columns['spread'] = fields['pred_std'].float().mean(1)
    if 'reference_logits' in fields:
        alone = fields['reference_logits'].float().softmax(1).max(1)
        columns['reference_predicted'] = alone.indices
        columns['reference_confidence'] = alone.values
    return columns


def _metrics(fields: dict[str, torch.Tensor]) -> dict[str, PerImageMetric]:
    return {
        config['type']: METRICS.build(config)
        for config in METRIC_CONFIGS
        if REFERENCE_METRICS.get(config['type'], 'pred_score') in fields
    }


def _finish(metrics, columns, answers) -> Measured:
    whole = {name: torch.cat(parts).cpu() for name, parts in columns.items()}
    figures = dict(spread=None, mean_used=None) if metrics else {}
    for name, metric in metrics.items():
        figures.update(metric.of_rows(whole[name]))
        figures.update(_interval(name, whole[name], figures))
        figures.update(_ends(metric.intervals(whole[name])))
    reliability = _bins(whole['CalibrationError']) if metrics else {}
    right = whole['Top1Accuracy'][:, 1].bool().numpy() if metrics else None
    scores = {}
    for name, column in whole.items():
        if name.startswith('score '):
            check_images(column)
            scores[name.partition(' ')[2]] = column.numpy()
    return Measured(figures, reliability, scores, answers, right=right)


def _interval(name: str, rows: torch.Tensor, figures: dict) -> dict:
    """The ends of a metric's confidence interval; empty if it has none."""
    if name == 'Top1Accuracy':
        figure, scale = 'top1', 100
        ends = wilson_interval(figures['top1'] / 100, len(rows))
    elif name in MEANS:
        figure, scale = MEANS[name], 1
        ends = normal_interval(rows[:, 0])
        # none of these can be negative, and a Brier score is at most 2
        top = 2.0 if figure == 'brier' else math.inf
        ends = ends and (max(ends[0], 0.0), min(ends[1], top))
    else:
        return {}
    return _ends({figure: ends and (scale * ends[0], scale * ends[1])})


def _ends(intervals: dict) -> dict:
    """Name the ends of intervals after their metrics; None without one."""
    return {
        figure + end: ends and ends[i]
        for figure, ends in intervals.items()
        for i, end in enumerate((LOW, HIGH))
    }


def _bins(rows: torch.Tensor) -> dict[str, list]:
    """Sum over bins of confidence.

    Shape:
        - rows: (N, 2), the confidence, and 1 if the prediction is right
    """
    confidence, right = rows.unbind(1)
    # Confidences on an edge are in the upper bin, as in torchmetrics, except
    # 1, which is in the last one.
    index = (confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    sums = torch.zeros(3, NUM_BINS, dtype=torch.float64)
    for total, values in zip(
        sums, (torch.ones_like(right), confidence, right)
    ):
        total.scatter_add_(0, index, values)
    count, confidence, right = sums.tolist()
    return dict(count=count, confidence=confidence, right=right)


def _check_classes(answer: torch.Tensor, batches: ImageBatches) -> None:
    have, wanted = answer.size(1), batches.num_classes
    if (
        wanted is not None
        and have != wanted
        and not (batches.labels < 0).all()
    ):
        raise ValueError(
            f'Expected a model for the {wanted} classes of the data set, but '
            f'got one for {have}. Name another checkpoint, or another suite.'
        )
