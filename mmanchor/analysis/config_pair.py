"""The four lines of the README, put under any config."""
import copy
import tempfile
from pathlib import Path
from typing import List, Optional, Tuple, Union

from mmengine.config import Config
from mmengine.hub import get_config

from ..engine.config_reading import type_name

FOUR_LINES = """
_base_ = '{base}'
custom_imports = dict(imports={imports}, allow_failed_imports=False)

model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
"""
_ANCHORED = 'AnchoredImageClassifier'
# what an anchored config may have and a plain one may not
_OURS = {
    'model': ('stem', 'image_channels', 'masked_norm_stats', 'average',
              'rows_per_pass'),
    'head': ('masked_target', ),
    'data_preprocessor': ('mask_prob', 'mask_by', 'references', 'seed'),
}


def plain_and_anchored(
        path: Union[str, Path],
        options: Optional[dict] = None) -> Tuple[Optional[Config], Config]:
    """A config as a plain and as an anchored one, without pretrained files.

    Args:
        path (str | Path): A config file, or ``mmpretrain::`` and one of
            MMPretrain's. A plain one gets the four lines; of an anchored one,
            what is mmanchor's is taken off.
        options (dict, optional): Changes, as
            ``{'model.backbone.depth': 18}``. Defaults to None.

    Returns:
        Tuple[Config | None, Config]: Plain and anchored; no plain one of a
        backbone that was built for 2C channels by hand.

    Raises:
        ValueError: The config has no ``ImageClassifier`` to anchor.
    """
    if '::' in str(path):
        path = get_config(str(path)).filename
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    kind = type_name(cfg.model) if 'model' in cfg else None
    if kind == _ANCHORED:
        built_for_2c = cfg.model.get('stem') == []
        plain = None if built_for_2c else _take_off(cfg)
        anchored = cfg
    elif kind == 'ImageClassifier':
        plain, anchored = cfg, _put_under(path, cfg)
        anchored.merge_from_dict(options or {})
    else:
        raise ValueError('Expected `model` to be an ImageClassifier or an '
                         f'AnchoredImageClassifier, but {path} has {kind}.')
    for each in filter(None, (plain, anchored)):
        _drop_pretrained(each.model)
    return plain, anchored


def own_imports(cfg: Config) -> List[str]:
    """Modules that a config imports, which the four lines would replace."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    return [imports] if isinstance(imports, str) else list(imports)


def image_size(cfg: Config) -> Union[int, Tuple[int, int]]:
    """The size of a config's test images; of its training crops, failing that.

    Returns:
        int | Tuple[int, int]: In pixels; 224 where the config doesn't say.
    """
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        for transform in reversed(dataset.get('pipeline') or []):
            for key in ('crop_size', 'scale'):
                if key in transform:
                    return transform[key]
    return 224


def _put_under(path, cfg) -> Config:
    base = Path(path).resolve().as_posix()
    imports = [*own_imports(cfg), 'mmanchor']
    lines = FOUR_LINES.format(base=base, imports=imports)
    try:
        with tempfile.TemporaryDirectory() as folder:
            anchored = Path(folder) / 'anchored.py'
            anchored.write_text(lines, encoding='utf-8')
            return Config.fromfile(anchored)
    except RuntimeError:  # a new-style config has no `_base_`
        anchored = Config(cfg.to_dict())
        anchored.merge_from_dict(dict(model=dict(type=_ANCHORED)))
        anchored.data_preprocessor = {
            **(anchored.get('data_preprocessor') or {}), 'type':
            'AnchoringDataPreprocessor',
            'mask_prob': 0.25
        }
        return anchored


def _take_off(cfg: Config) -> Config:
    cfg = copy.deepcopy(cfg)
    model = cfg.model
    model.type = 'ImageClassifier'
    preprocessors = [
        p
        for p in (cfg.get('data_preprocessor'), model.get('data_preprocessor'))
        if p
    ]
    for preprocessor in preprocessors:
        preprocessor.pop('type', None)
    for where, arguments in ((model, _OURS['model']), (model.get('head')
                                                       or {}, _OURS['head']),
                             *((p, _OURS['data_preprocessor'])
                               for p in preprocessors)):
        for argument in arguments:
            where.pop(argument, None)
    return cfg


def _drop_pretrained(config) -> None:
    """Take out, at any depth, what would read a file of weights."""
    if isinstance(config, dict):
        config.pop('pretrained', None)
        init_cfg = config.get('init_cfg')
        if init_cfg:
            kept = [
                c for c in (
                    init_cfg if isinstance(init_cfg, list) else [init_cfg])
                if type_name(c) not in ('Pretrained', 'PretrainedInit')
            ]
            config['init_cfg'] = kept or None
        for value in config.values():
            _drop_pretrained(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _drop_pretrained(value)
