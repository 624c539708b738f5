"""Turns an anchored config into the config of the plain model."""

import copy

from mmengine.config import Config
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS

from ..utils.config import type_name
from ..utils.names import constructors, named_arguments
from .classifier import AnchoredImageClassifier
from .data_preprocessor import AnchoringDataPreprocessor
from .heads import reference_masking
from .losses import ReferenceMaskingLoss


def host_class(kind: type) -> type:
    """The MMPretrain class that a class of mmanchor extends.

    Returns:
        type: The nearest base class that does not come from mmanchor. For a
        class that does not derive from mmanchor, it is the class itself.

    Example:
        >>> host_class(AnchoringDataPreprocessor).__name__
        'ClsDataPreprocessor'
    """
    return next(
        one
        for one in kind.__mro__
        if not any(_is_ours(base) for base in one.__mro__)
    )


def arguments_over_host(kind: type) -> set[str]:
    """The arguments that a class takes and its :func:`host_class` doesn't.

    Example:
        >>> 'mask_prob' in arguments_over_host(AnchoringDataPreprocessor)
        True
    """
    host = constructors(host_class(kind))
    ours = [init for init in constructors(kind) if init not in host]
    return {*named_arguments(*ours)} - {*named_arguments(*host)}


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition('.')[0] == __name__.partition('.')[0]


def take_off(cfg: Config) -> Config:
    """Create the config of the plain model behind an anchored config.

    Hooks are not changed.

    Args:
        cfg (Config): Of an ``AnchoredImageClassifier`` or another classifier
            of mmanchor.

    Returns:
        Config: A copy that names MMPretrain's classes, such as
        ``ImageClassifier``, without arguments that these do not take.

    Example:
        >>> model = dict(
        ...     type='AnchoredImageClassifier',
        ...     average='logits',
        ...     head=dict(type='ClsHead', masked_target='label'),
        ... )
        >>> take_off(Config(dict(model=model))).model
        {'type': 'ImageClassifier', 'head': {'type': 'ClsHead'}}
    """
    cfg = copy.deepcopy(cfg)
    kind = _class(cfg.model) or AnchoredImageClassifier
    _drop_arguments(cfg.model, kind)
    cfg.model.type = host_class(kind).__name__
    for preprocessor in preprocessors(cfg):
        _drop_arguments(
            preprocessor, _class(preprocessor) or AnchoringDataPreprocessor
        )
        preprocessor.pop('type', None)
    _take_off_head(cfg.model.get('head') or {})
    return cfg


def preprocessors(cfg: Config) -> list:
    """The data preprocessors of a config, from both possible places."""
    both = (cfg.get('data_preprocessor'), cfg.model.get('data_preprocessor'))
    return [preprocessor for preprocessor in both if preprocessor]


def drop_pretrained(config: dict | list | tuple) -> None:
    """Remove settings that read a file of weights, at any depth."""
    if isinstance(config, dict):
        config.pop('pretrained', None)
        init_cfg = config.get('init_cfg')
        if init_cfg:
            kept = [
                c
                for c in (
                    init_cfg if isinstance(init_cfg, list) else [init_cfg]
                )
                if type_name(c) not in ('Pretrained', 'PretrainedInit')
            ]
            config['init_cfg'] = kept or None
        for value in config.values():
            drop_pretrained(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            drop_pretrained(value)


def _take_off_head(head: dict) -> None:
    kind = _class(head)
    if kind is not None:
        if issubclass(kind, ClsHead):
            _drop_arguments(head, reference_masking(kind))
        if host_class(kind) is not kind:
            head['type'] = host_class(kind).__name__
    loss = head.get('loss')
    if isinstance(loss, dict) and issubclass(
        _class(loss) or object, ReferenceMaskingLoss
    ):
        head['loss'] = loss.get('loss', dict(type='CrossEntropyLoss'))


def _class(config: dict) -> type | None:
    kind = config.get('type')
    return MODELS.get(kind) if isinstance(kind, str) else kind


def _drop_arguments(config: dict, kind: type) -> None:
    for name in arguments_over_host(kind):
        config.pop(name, None)
