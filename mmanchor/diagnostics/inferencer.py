"""MMPretrain's inferencer, with the fields of ``tools/predict.py``."""

import copy
import logging
from collections.abc import Iterator, Sequence

import torch
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import HOOKS

from ..functional import check_uncertainty
from ..models import AnchoredImageClassifier
from ..models.inference.protocols import check_measures
from ..suite.images import TestPipeline
from ..utils.config import evaluation_pipeline, reference_hooks
from ..utils.files import file_sha256
from .image_predictions import ImageReader, answer_records, saved_decisions

# fields of a sample with a number, or several, for the image
_FIELDS = ('pred_score', 'pred_std', 'num_references')


class AnchoredImageClassificationInferencer(ImageClassificationInferencer):
    """Predicts images with their uncertainty, as ``tools/predict.py`` does.

    It is used like its base class. Each result
    has the fields of a JSON line of ``tools/predict.py`` beside those of the
    base class: ``image`` if it is a file, ``label``, ``name`` where classes
    have names, ``confidence``; of anchored models ``spread`` (unless they are
    adaptive) and ``num_references``; and ``abstains``, ``set`` and the
    measures where they are asked for. Plain models are taken, too. An image
    that can't be read raises, as in the base class.

    Args:
        model (BaseModel | str | Config): A config, its path, or a model.
        pretrained (bool | str): The checkpoint's path. Defaults to True, see
            the base class.
        device (str | torch.device, optional): Defaults to None, see the base
            class.
        classes (Sequence[str], optional): Names of the classes. Defaults to
            those of the checkpoint.
        measures (Sequence[str]): Measures of uncertainty, see
            :func:`~mmanchor.functional.check_uncertainty`. Defaults to those
            of the config's ``KReferenceHook``.
        abstain (bool): Whether to mark predictions that are not trusted, by
            the threshold that ``tools/threshold.py`` saved beside the
            checkpoint. Defaults to False.
        coverage (float, optional): The coverage of the prediction sets to
            use, which ``tools/threshold.py`` saved there. Defaults to None,
            which uses none.
        **kwargs: See the base class.

    Raises:
        ValueError: No threshold or sets were saved, ``pretrained`` is no path
            although they are asked for, the protocol does not support a
            measure, or a measure is asked of a plain model.

    Example:
        >>> inferencer = AnchoredImageClassificationInferencer(
        ...     'digits.py', 'epoch_40.pth'
        ... )  # doctest: +SKIP
        >>> inferencer(['a.png'], batch_size=64)  # doctest: +SKIP
        [{'pred_scores': array([...]), 'pred_label': 3, ..., 'spread': 0.21}]
    """

    def __init__(
        self,
        model,
        pretrained: bool | str = True,
        device: str | torch.device | None = None,
        classes: Sequence[str] | None = None,
        measures: Sequence[str] = (),
        abstain: bool = False,
        coverage: float | None = None,
        **kwargs,
    ):
        super().__init__(model, pretrained, device, classes, **kwargs)
        self.measures, how = check_uncertainty(measures), None
        if isinstance(self.model, AnchoredImageClassifier):
            how = self._use_references()
            if self.measures:
                check_measures(self.model.protocol, self.measures)
                self.model.uncertainty = self.measures
            self.measures = self.model.uncertainty
        elif self.measures:
            raise ValueError(
                'Expected an anchored model for measures of uncertainty, but '
                f'got {type(self.model).__name__}. Remove `measures`.'
            )
        self.threshold = self.sets = None
        if abstain or coverage is not None:
            if not isinstance(pretrained, str):
                raise ValueError(
                    'Expected the path of a checkpoint in `pretrained`, '
                    'beside which a threshold or prediction sets were saved, '
                    f'but got {pretrained!r}. Name it.'
                )
            self.threshold, self.sets = saved_decisions(
                pretrained, file_sha256(pretrained), how, abstain, coverage
            )

    def _init_pipeline(self, cfg) -> ImageReader:
        return ImageReader(TestPipeline(evaluation_pipeline(cfg)))

    def preprocess(
        self, inputs: Sequence, batch_size: int = 1
    ) -> Iterator[dict]:
        """Read images as ``tools/predict.py`` does, in batches.

        The base class gives BGR to all models, also to those that were
        trained on arrays, which are RGB.

        Raises:
            ValueError: An image can't be read.
        """
        for start in range(0, len(inputs), batch_size):
            images = []
            for one in inputs[start : start + batch_size]:
                images.append(self.pipeline(one))
                if isinstance(images[-1], str):
                    name = one if isinstance(one, str) else 'an array'
                    raise ValueError(
                        f'Expected {name} to be an image, but {images[-1]}. '
                        'Name another.'
                    )
            yield dict(inputs=torch.stack(images), data_samples=None)

    def _use_references(self) -> str:
        """Set the references as the config's hook does, and describe them."""
        hooks = reference_hooks(self.config)
        if not hooks:  # the whole bank
            return self.model.protocol.describe(len(self.model.reference_bank))
        hook = HOOKS.build(copy.deepcopy(hooks[0]))
        hook.set_references(self.model, self.config, logging.getLogger())
        return hook.protocol.describe(hook.needed)

    def __call__(
        self,
        inputs,
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs,
    ) -> list:
        """Predict images, which are files, a folder, or arrays.

        Arguments are those of the base class. The results are described in the
        class, or are MMPretrain's samples with ``return_datasamples``.

        Raises:
            ValueError: An image can't be read.
        """
        inputs = self._inputs_to_list(inputs)
        results = super().__call__(
            inputs, return_datasamples, batch_size, **kwargs
        )
        if return_datasamples:
            return results
        return [
            dict(image=one, **found) if isinstance(one, str) else found
            for one, found in zip(inputs, results)
        ]

    def postprocess(self, preds, visualization, return_datasamples=False):
        """Add the fields of this class to the results of the base class."""
        results = super().postprocess(preds, visualization, return_datasamples)
        if return_datasamples or not preds:
            return results
        fields = {
            name: torch.stack(
                [torch.as_tensor(one.get(name)) for one in preds]
            )
            for name in (*_FIELDS, *self.measures)
            if name in preds[0]
        }
        records = answer_records(
            fields, self.measures, self.classes, self.threshold, self.sets
        )
        return [
            dict(result, **record) for result, record in zip(results, records)
        ]
