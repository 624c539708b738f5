"""A trained anchored model as a plain one on disk, shared by ``tools/``."""

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
from .compare import Comparison, check_difference, compared_images, difference


def write_folded(
    cfg: Config, checkpoint: str, out_dir: str | Path, allow_code: bool = False
) -> Comparison:
    """Fold the first reference of a checkpoint and write the plain model.

    ``folded.py`` is a config that stands alone and ``folded.pth`` its
    weights, for MMPretrain's tools and APIs, where mmanchor is installed.
    Both are read back and compared to the anchored model.

    Args:
        cfg (Config): What the checkpoint was trained with.
        checkpoint (str): An anchored model's.
        out_dir (str | Path): Where the two files go.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Returns:
        Comparison: How far the answers differ.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ValueError: The model can't be loaded (see
            :func:`~..checkpoints.model_loading.load_anchored`) or folded (see
            :func:`~mmanchor.models.fold_reference`), or the folded one
            answers otherwise; nothing is written then.
    """
    model, saved = load_anchored(cfg, checkpoint, allow_code)
    model.reference_bank.use(1)  # whatever the config's protocol
    folded = fold_reference(model)
    place = None if model.place is None else model.place.settings()
    plain = folded_config(cfg, folded, model.stem, place)
    meta = {
        **saved.get('meta', {}),
        'cfg': plain.pretty_text,
    }  # the rest of a checkpoint is for going on with training
    images, which = compared_images(cfg, model.reference_bank.in_use)
    normalised, reference = (
        model.data_preprocessor(dict(inputs=pixels))['inputs']
        for pixels in (images, model.reference_bank.in_use)
    )
    with torch.no_grad():  # by the definition, which shares nothing
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
        found = max(
            difference(
                lambda x: head.logits(
                    read.extract_feat(
                        read.data_preprocessor(dict(inputs=x))['inputs']
                    )
                ),
                expected,
                images,
                len(images),
            ),
            difference(
                lambda x: torch.stack(
                    [s.pred_score for s in read.test_step(dict(inputs=x))]
                ),
                scores,
                images,
                len(images),
            ),
        )
        check_difference(found, 'the folded model')
    return Comparison(found, which)


def folded_config(
    cfg: Config,
    folded: ImageClassifier,
    stem: Sequence[str],
    place: dict | None = None,
) -> Config:
    """The config of a folded model, out of the anchored one's.

    Args:
        cfg (Config): Of the anchored model.
        folded (ImageClassifier): What
            :func:`~mmanchor.models.fold_reference` made of it.
        stem (Sequence[str]): The layers that got a map.
        place (dict, optional): Where features were anchored, as for
            :class:`~mmanchor.models.FoldedImageClassifier`. Defaults to None.

    Returns:
        Config: Of a :class:`~mmanchor.models.FoldedImageClassifier`.
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
