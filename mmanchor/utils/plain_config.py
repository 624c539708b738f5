"""An anchored config without what is mmanchor's."""

import copy

from mmengine.config import Config
from mmpretrain.registry import MODELS

from .config import type_name

# what an anchored config may have and a plain one may not
_OURS = {
    'model': (
        'stem',
        'image_channels',
        'masked_norm_stats',
        'average',
        'rows_per_pass',
        'anchor_at',
    ),
    'data_preprocessor': ('mask_prob', 'mask_by', 'references', 'seed'),
}


def take_off(cfg: Config) -> Config:
    """The config of the plain model that an anchored config anchors.

    Hooks stay as they are.

    Args:
        cfg (Config): Of an ``AnchoredImageClassifier``.

    Returns:
        Config: A copy, of an ``ImageClassifier``.

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
    cfg.model.type = 'ImageClassifier'
    for argument in _OURS['model']:
        cfg.model.pop(argument, None)
    for preprocessor in preprocessors(cfg):
        for argument in ('type', *_OURS['data_preprocessor']):
            preprocessor.pop(argument, None)
    _take_off_head(cfg.model.get('head') or {})
    return cfg


def preprocessors(cfg: Config) -> list:
    """The data preprocessors of a config, in both places it may name them."""
    both = (cfg.get('data_preprocessor'), cfg.model.get('data_preprocessor'))
    return [preprocessor for preprocessor in both if preprocessor]


def drop_pretrained(config: dict | list | tuple) -> None:
    """Take out, at any depth, what would read a file of weights."""
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


def _take_off_head(head) -> None:
    head.pop('masked_target', None)
    kind = head.get('type')
    if isinstance(kind, str):
        kind = MODELS.get(kind)
    if hasattr(kind, 'host_class'):
        head['type'] = kind.host_class.__name__
    loss = head.get('loss')
    if isinstance(loss, dict) and type_name(loss) == 'ReferenceMaskingLoss':
        head['loss'] = loss.get('loss', dict(type='CrossEntropyLoss'))
