"""Writes a trained anchored model as a plain model with one reference."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.models import ImageClassifier

from ..checkpoints.model_loading import load_anchored
from ..checkpoints.safe_loading import checkpoint_loading
from ..functional import anchor
from ..models import fold_reference
from ..models.heads import mask_head
from ..models.plain_config import drop_pretrained, preprocessors, take_off
from ..utils.config import own_imports, reference_hooks
from ..utils.files import whole_files
from .compare import (
    Comparison,
    check_difference,
    comparison_images,
    relative_difference,
)


def fold_checkpoint(
    cfg: Config, checkpoint: str, out_dir: str | Path, allow_code: bool = False
) -> Comparison:
    """Fold the first reference of a checkpoint and write the plain model.

    ``folded.py`` is a config without a base and ``folded.pth`` its weights.
    MMPretrain's tools and APIs can use both where mmanchor is installed. The
    files are read back and compared with the anchored model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The model can't be loaded (see
            :func:`~..checkpoints.model_loading.load_anchored`) or folded (see
            :func:`~mmanchor.models.fold_reference`), or the folded model
            answers differently. Nothing is written then.
    """
    model, saved = load_anchored(cfg, checkpoint, allow_code)
    model.reference_bank.use(1)  # Whatever the config's protocol is.
    folded = fold_reference(model)
    place = None if model.place is None else model.place.settings()
    plain = folded_config(cfg, folded, model.stem, place)
    meta = {
        **saved.get('meta', {}),
        'cfg': plain.pretty_text,
    }  # the rest of a checkpoint only serves to resume training
    images, description = comparison_images(cfg, model.reference_bank.in_use)
    normalised, reference = (
        model.data_preprocessor(dict(inputs=pixels))['inputs']
        for pixels in (images, model.reference_bank.in_use)
    )
    with torch.no_grad():  # anchor by definition, without a shared stem
        anchored = anchor(normalised, reference.expand_as(normalised))
        expected = model.reference_logits(anchored)[0]
        scores = torch.stack([s.pred_score for s in model.predict(anchored)])
    with whole_files(out_dir) as partial:
        torch.save(
            dict(meta=meta, state_dict=folded.state_dict()),
            partial / 'folded.pth',
        )
        plain.dump(partial / 'folded.py')
        with checkpoint_loading(allow_code):
            read = get_model(
                str(partial / 'folded.py'), str(partial / 'folded.pth')
            )
        head = mask_head(copy.deepcopy(read.head))  # has `logits`
        error = max(
            relative_difference(
                lambda x: head.logits(
                    read.extract_feat(
                        read.data_preprocessor(dict(inputs=x))['inputs']
                    )
                ),
                expected,
                images,
                len(images),
            ),
            relative_difference(
                lambda x: torch.stack(
                    [s.pred_score for s in read.test_step(dict(inputs=x))]
                ),
                scores,
                images,
                len(images),
            ),
        )
        check_difference(error, 'the folded model')
    return Comparison(error, description)


def folded_config(
    cfg: Config,
    folded: ImageClassifier,
    stem: Sequence[str],
    place: dict | None = None,
) -> Config:
    """Derive the config of a folded model from that of the anchored model.

    Args:
        place (dict, optional): Where features are anchored, as for
            :class:`~mmanchor.models.FoldedImageClassifier`. Defaults to None.
    """
    plain = take_off(cfg)
    drop_pretrained(plain.model)
    plain.model.update(
        type='FoldedImageClassifier',
        image_shape=list(folded.backbone.image_shape),
        stem=list(stem),
    )
    if place is not None:
        plain.model.place = place
    for preprocessor in preprocessors(plain):
        preprocessor['type'] = 'ClsDataPreprocessor'
    ours = reference_hooks(plain)
    plain.custom_hooks = [
        hook for hook in plain.get('custom_hooks') or [] if hook not in ours
    ]
    imports = own_imports(plain)
    plain.custom_imports = dict(
        imports=[*imports, *{'mmanchor'}.difference(imports)],
        allow_failed_imports=False,
    )
    plain.load_from, plain.resume = None, False
    return plain
