"""One model on one test set: a pass over the images, then figures."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmpretrain.registry import METRICS

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
from ..evaluation.metrics.predicted_batch import PredictedBatch
from ..utils.transfer import copy_to_device
from .candidates import Ready
from .held_out import HeldOutFit, scaled
from .images import ImageBatches
from .model_scores import FeatureScores, ModelFields, find_suite_score
from .predict import predict_batch

NUM_BINS = 15
# metric: which of its figures; the suite's own names are the same
FIGURES = (
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
# the field of predictions that each needs; not every model's have it
OF_REFERENCES = dict(
    ReferenceSpread='pred_std', ReferencesUsed='num_references'
)
# the figures that are means of one number an image
MEANS = dict(
    NegativeLogLikelihood='nll',
    BrierScore='brier',
    ReferenceSpread='spread',
    ReferencesUsed='mean_used',
)
# what the ends of a figure's confidence interval are called after it
LOW, HIGH = '_low', '_high'


class Measured(NamedTuple):
    """What a pass over a test set found.

    Attributes:
        figures (Dict[str, float]): ``top1`` in %, ``ece`` and so on; None
            where a model has none. Where a figure has a 95 % confidence
            interval, its ends are beside it, as ``top1_low`` and
            ``top1_high``. Empty for images of no class.
        reliability (Dict[str, list]): Of each of 15 bins of confidence, the
            ``count`` of images, and the sums of their ``confidence`` and of
            those that are ``right``.
        scores (Dict[str, np.ndarray]): Of each anomaly score, (N,).
        answers (torch.Tensor, optional): (N, num_classes), where asked for.
        images (Dict[str, np.ndarray], optional): What is said of each image,
            where asked for: ``label``, ``predicted`` and ``confidence`` (N,);
            ``spread`` (N,) where several references answer, and, where all
            images have the same ones, what each of them answers alone:
            ``reference_predicted`` and ``reference_confidence`` (N, K).
    """

    figures: dict[str, float | None]
    reliability: dict[str, list]
    scores: dict[str, np.ndarray]
    answers: torch.Tensor | None = None
    images: dict[str, np.ndarray] | None = None


def measure(
    ready: Ready,
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
    """Pass over a test set once.

    What metrics need of each image stays on the device until the end; the
    figures are those of the registered metrics through a runner.

    Args:
        ready (Ready): The model.
        batches (ImageBatches): The images.
        device (str): Where the model is.
        fits (Sequence[HeldOutFit]): How probabilities are made from logits;
            each has its own figures. Defaults to the softmax of logits as
            they are.
        figures (bool): Whether images have labels to compare with. Defaults
            to True.
        scores (Sequence[str]): Anomaly scores to keep. Defaults to none.
        kept_classes (Sequence[int], optional): Classes that compete, rather
            than those the set says. Defaults to the set's.
        amp (bool): Mixed precision, in half. Defaults to False.
        keep_answers (bool): Whether to keep the logits whose softmax is the
            prediction. Defaults to False.
        single_references (bool): Whether to measure the accuracy with each
            reference alone, too, where a model has several for every image.
            Defaults to False.
        keep_images (bool): Whether to keep what is said of each image, at the
            first of ``fits``. Defaults to False.
        feature_scores (dict, optional): Fitted scores of features, by name;
            those among ``scores`` are kept. Defaults to none.
        report (Callable): Told of the number of images, batch by batch.

    Returns:
        list[Measured]: One for each of ``fits``.

    Raises:
        ValueError: There is no image, the model has another number of classes
            than the set, a label is none of them, or predictions are not
            finite.
    """
    if not len(batches):
        raise ValueError(
            'Expected one image or more to measure on, but got '
            'none. Change the data set, or `share` of '
            '`held_out`.'
        )
    kept = batches.kept_classes if kept_classes is None else kept_classes
    wanted = {name: find_suite_score(name) for name in scores}
    more_fields = ModelFields(ready.model, scores, feature_scores)
    metrics: dict[str, PerImageMetric] = {}
    rows: list[dict[str, list]] = [{} for _ in fits]
    kept_answers, kept_images, start = [], [], 0

    def of_fit(fit: HeldOutFit) -> dict[str, PerImageMetric]:
        return fit.metrics if figures else {}

    for images in batches:
        batch = slice(start, start + len(images))
        labels = copy_to_device(batches.labels[batch], device)
        images = copy_to_device(images, device)
        start = batch.stop
        with torch.autocast(torch.device(device).type, enabled=amp):
            fields = predict_batch(ready.model, images)
            fields.update(more_fields(images))
        answer = fields.pop('answer').float()
        _check_classes(answer, batches)
        if not metrics and figures:
            metrics = _metrics(fields)
            if single_references and 'reference_logits' in fields:
                metrics['SingleReferenceAccuracy'] = SingleReferenceAccuracy()
        if keep_answers:
            kept_answers.append(answer)
        if keep_images:
            kept_images.append(_of_each_image(fields, labels, kept))
        for fit, columns in zip(fits, rows):
            logits = scaled(answer, fit.scaling)
            if fit.scaling != 1.0:
                fields['pred_score'] = logits.softmax(1)
            batch = PredictedBatch(
                dict(fields, answer=logits, gt_label=labels), kept
            )
            for name, metric in {**metrics, **of_fit(fit)}.items():
                columns.setdefault(name, []).append(metric.rows_of(batch))
            for name, score in wanted.items():
                if score.field in batch:
                    values = batch[score.field]
                    column = mark_nonfinite(
                        score.function(values.double()), values
                    )
                    columns.setdefault(f'score {name}', []).append(column)
        report(len(images))
    answers = torch.cat(kept_answers) if kept_answers else None
    found = [
        _finish({**metrics, **of_fit(fit)}, columns, answers)
        for fit, columns in zip(fits, rows)
    ]
    if keep_images:
        columns = {
            name: np.concatenate([part[name] for part in kept_images])
            for name in kept_images[0]
        }
        found[0] = found[0]._replace(images=columns)
    return found


def _of_each_image(fields, labels, kept) -> dict[str, np.ndarray]:
    """What is said of the images of a batch, for people to look at."""
    scores = fields['pred_score'].float()
    if kept is not None:  # the other classes don't compete
        others = torch.ones(scores.size(1), dtype=torch.bool)
        others[list(kept)] = False
        scores = scores.masked_fill(others.to(scores.device), -1)
    confidence, predicted = scores.max(1)
    found = dict(label=labels, predicted=predicted, confidence=confidence)
    if 'pred_std' in fields:
        found['spread'] = fields['pred_std'].float().mean(1)
    if 'reference_logits' in fields:
        alone = fields['reference_logits'].float().softmax(1).max(1)
        found['reference_predicted'] = alone.indices
        found['reference_confidence'] = alone.values
    return {name: values.cpu().numpy() for name, values in found.items()}


def _metrics(fields: dict[str, torch.Tensor]) -> dict[str, PerImageMetric]:
    return {
        config['type']: METRICS.build(config)
        for config in FIGURES
        if OF_REFERENCES.get(config['type'], 'pred_score') in fields
    }


def _finish(metrics, columns, answers) -> Measured:
    whole = {name: torch.cat(parts).cpu() for name, parts in columns.items()}
    found = dict(spread=None, mean_used=None) if metrics else {}
    for name, metric in metrics.items():
        found.update(metric.of_rows(whole[name]))
        found.update(_interval(name, whole[name], found))
        found.update(_ends(metric.intervals(whole[name])))
    reliability = _bins(whole['CalibrationError']) if metrics else {}
    scores = {}
    for name, column in whole.items():
        if name.startswith('score '):
            check_images(column)
            scores[name.partition(' ')[2]] = column.numpy()
    return Measured(found, reliability, scores, answers)


def _interval(name: str, rows: torch.Tensor, figures: dict) -> dict:
    """Ends of a figure's confidence interval, empty where it has none."""
    if name == 'Top1Accuracy':
        figure, scale = 'top1', 100
        ends = wilson_interval(figures['top1'] / 100, len(rows))
    elif name in MEANS:
        figure, scale = MEANS[name], 1
        ends = normal_interval(rows[:, 0])
    else:
        return {}
    return _ends({figure: ends and (scale * ends[0], scale * ends[1])})


def _ends(intervals: dict) -> dict:
    """Of each figure the ends of its interval, None where there is none."""
    return {
        figure + end: ends and ends[i]
        for figure, ends in intervals.items()
        for i, end in enumerate((LOW, HIGH))
    }


def _bins(rows: torch.Tensor) -> dict[str, list]:
    """Sums over bins of confidence: (N, 2), confidence and right."""
    confidence, right = rows.unbind(1)
    # those on an edge go up, as torchmetrics has it; 1 is in the last bin
    place = (confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    sums = torch.zeros(3, NUM_BINS, dtype=torch.float64)
    for total, values in zip(
        sums, (torch.ones_like(right), confidence, right)
    ):
        total.scatter_add_(0, place, values)
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
