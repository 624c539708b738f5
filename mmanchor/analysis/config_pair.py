"""The four lines of the README, put under any config."""
import copy
import tempfile
from pathlib import Path
from typing import Optional, Tuple, Union

from mmengine.config import Config

from ..engine.config_reading import type_name

FOUR_LINES = """
_base_ = '{base}'
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)

model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
"""
# what an anchored config may have and a plain one may not
_OURS = {
    'model': ('stem', 'image_channels', 'masked_norm_stats', 'average',
              'rows_per_pass'),
    'head': ('masked_target', ),
    'data_preprocessor': ('mask_prob', 'mask_by', 'references', 'seed'),
}


def plain_and_anchored(
        path: Union[str, Path],
        options: Optional[dict] = None) -> Tuple[Config, Config]:
    """A config as a plain and as an anchored one, without pretrained files.

    Args:
        path (str | Path): A config file. A plain one gets the four lines; of
            an anchored one, what is mmanchor's is taken off.
        options (dict, optional): Changes, as
            ``{'model.backbone.depth': 18}``. Defaults to None.

    Returns:
        Tuple[Config, Config]: Plain and anchored.

    Raises:
        ValueError: The config has no ``ImageClassifier`` to anchor.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    kind = type_name(cfg.model) if 'model' in cfg else None
    if kind == 'AnchoredImageClassifier':
        plain, anchored = _take_off(cfg), cfg
    elif kind == 'ImageClassifier':
        plain, anchored = cfg, _put_under(path)
        anchored.merge_from_dict(options or {})
    else:
        raise ValueError('Expected `model` to be an ImageClassifier or an '
                         f'AnchoredImageClassifier, but {path} has {kind}.')
    for each in (plain, anchored):
        _drop_pretrained(each.model)
    return plain, anchored


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


def _put_under(path) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        anchored = Path(folder) / 'anchored.py'
        base = Path(path).resolve().as_posix()
        anchored.write_text(FOUR_LINES.format(base=base), encoding='utf-8')
        return Config.fromfile(anchored)


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
                if type_name(c) != 'Pretrained'
            ]
            config['init_cfg'] = kept or None
        for value in config.values():
            _drop_pretrained(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _drop_pretrained(value)
