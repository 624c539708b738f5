"""What configs say, however they say it."""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import (
    Any,
)

from mmengine.config import Config
from mmpretrain.registry import DATASETS

from .names import did_you_mean


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """A config file with changes, as ``{'model.backbone.depth': 18}``."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    return cfg


def type_name(config) -> str:
    """The name of what a config builds, or of what is built already."""
    kind = config['type'] if isinstance(config, dict) else type(config)
    return getattr(kind, '__name__', kind).rpartition('.')[2]


def own_imports(cfg: Config) -> list[str]:
    """Modules that a config imports, which the four lines would replace."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    return [imports] if isinstance(imports, str) else list(imports)


def reference_hooks(cfg: Config) -> list[dict]:
    """The configs of ``KReferenceHook`` among a config's hooks."""
    return [
        hook
        for hook in cfg.get('custom_hooks') or []
        if type_name(hook) == 'KReferenceHook'
    ]


def pretrained_files(model) -> Iterator[dict]:
    """Files of weights that a model's config names, at any depth.

    Yields:
        dict: ``checkpoint``, and ``prefix`` where there is one.
    """
    if isinstance(model, dict):
        if isinstance(model.get('pretrained'), str) and 'head' in model:
            # a classifier's; a backbone's is a flag
            yield dict(checkpoint=model['pretrained'])
        if 'type' in model and type_name(model) in (
            'Pretrained',
            'PretrainedInit',
        ):
            yield dict(model)
        model = model.values()
    elif not isinstance(model, (list, tuple)):
        return
    for value in model:
        yield from pretrained_files(value)


def evaluation_pipeline(cfg) -> list:
    """The pipeline that images are validated or tested with.

    Raises:
        ValueError: There is none.
    """
    for name in ('val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset')
        while dataset is not None:
            if 'pipeline' in dataset:
                return dataset['pipeline']
            inner = (
                dataset.get('dataset') or dataset.get('datasets', [None])[0]
            )
            if inner is None:  # a user's own may come with a pipeline
                built = DATASETS.build(dataset)
                if hasattr(built, 'pipeline'):
                    return built.pipeline.transforms
            dataset = inner
    raise ValueError(
        'Expected a test pipeline in `val_dataloader` or `test_dataloader` '
        'for references to go through, but found none. Give `source` a '
        '`pipeline`.'
    )


def check_fields(
    config: dict, kind: type, where: str | Path, given: Sequence[str] = ()
) -> None:
    """Refuse names that a dataclass doesn't take, and the lack of others.

    Args:
        config (dict): Its arguments.
        kind (type): The dataclass.
        where (str | Path): Where they are written.
        given (Sequence[str]): Fields that are not written there.

    Raises:
        ValueError: There is no such field, or one is lacking.
    """
    wanted = {one.name: one for one in fields(kind) if one.name not in given}
    for key in config:
        if key not in wanted:
            raise ValueError(
                f'Expected {where} to set {", ".join(wanted)}, but got '
                f'{key!r}. {did_you_mean(key, wanted, "Remove it.")}'
            )
    lacking = [
        key
        for key, one in wanted.items()
        if key not in config
        and one.default is MISSING
        and one.default_factory is MISSING
    ]
    if lacking:
        raise ValueError(
            f'Expected {where} to set {", ".join(lacking)}, but '
            f'got {", ".join(config) or "nothing"}. Add '
            f'{lacking[0]}.'
        )


def changes(before: dict, now: dict) -> dict[str, tuple[Any, Any]]:
    """What differs, by path.

    Example:
        >>> changes(dict(a=dict(b=1, c=2)), dict(a=dict(b=1, c=3)))
        {'a.c': (2, 3)}
    """
    before, now = dict(_flat(before)), dict(_flat(now))
    return {
        path: (before.get(path), now.get(path))
        for path in dict.fromkeys([*before, *now])
        if before.get(path) != now.get(path)
    }


def _flat(found: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(found, dict):
        inside = found.items()
    elif isinstance(found, list):
        inside = enumerate(found)
    else:
        yield path, found
        return
    for key, value in inside:
        yield from _flat(value, f'{path}.{key}' if path else str(key))
