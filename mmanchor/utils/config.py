"""Finds and reads config files, and looks up what configs contain."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from .names import did_you_mean


def _shipped(package: Path, name: str) -> Path:
    """Return the folder ``configs`` or ``tools``, of a wheel or of a clone.

    A wheel has it in the package. A clone has a link to it there, or a text
    file on systems without links, such as Windows.
    """
    inside = package / '.mim' / name
    return inside if inside.is_dir() else package.parent / name


CONFIG_DIR = _shipped(Path(__file__).parents[1], 'configs')


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config file, and apply changes to it.

    Args:
        options (dict, optional): Changes to the config, such as
            ``{'model.backbone.depth': 18}``. Defaults to None: no changes.

    Raises:
        FileNotFoundError: There is no such config.
    """
    cfg = Config.fromfile(config_path(path))
    cfg.merge_from_dict(options or {})
    return cfg


def config_path(path: str | Path) -> Path:
    """Find a config file, which may be one that comes with mmanchor.

    Args:
        path (str | Path): The path of a file, or the name of a config in
            ``CONFIG_DIR``. The name may begin with ``configs/``, may lack
            ``.py`` and, if no other config has the same name, its folder.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: Several configs have that name.

    Example:
        >>> config_path('digits/vit-w64_digits.py').name
        'vit-w64_digits.py'
        >>> config_path('vit-w64_digits').samefile(
        ...     config_path('configs/digits/vit-w64_digits.py')
        ... )
        True
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    known = {
        one.relative_to(CONFIG_DIR).with_suffix('').as_posix(): one
        for one in CONFIG_DIR.rglob('*.py')
    }
    name = path.as_posix().removesuffix('.py').removeprefix('configs/')
    if name in known:
        return known[name]
    same = [one for one in known if one.rpartition('/')[2] == name]
    if len(same) == 1:
        return known[same[0]]
    if same:
        raise ValueError(
            f'Expected the name of one config, but got {name!r}, which is the '
            f'name of {", ".join(same)}. Add the folder.'
        )
    raise FileNotFoundError(
        'Expected a config file, or the name of a config that comes with '
        f'mmanchor, but got {str(path)!r}, which is not there. '
        + did_you_mean(
            name,
            known,
            '`mmanchor configs` lists those that come with it.',
        )
    )


def type_name(config) -> str:
    """Return the class name of a config, or of an object."""
    kind = config['type'] if isinstance(config, dict) else type(config)
    return getattr(kind, '__name__', kind).rpartition('.')[2]


@contextmanager
def scope_of(cfg: Config) -> Iterator[None]:
    """Look up types in the default scope of a config, or MMPretrain's.

    Example:
        >>> with scope_of(Config(dict(default_scope='mine'))):
        ...     DefaultScope.get_current_instance().scope_name
        'mine'
    """
    scope = cfg.get('default_scope') or 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        yield


def own_imports(cfg: Config) -> list[str]:
    """List the modules that a config imports."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    return [imports] if isinstance(imports, str) else list(imports)


def reference_hooks(cfg: Config) -> list[dict]:
    """List the configs of ``KReferenceHook`` among a config's hooks."""
    return [
        hook
        for hook in cfg.get('custom_hooks') or []
        if type_name(hook) == 'KReferenceHook'
    ]


def pretrained_files(model) -> Iterator[dict]:
    """Find all files of weights that a model's config names.

    Yields:
        dict: A config with ``checkpoint`` and maybe ``prefix``.
    """
    if isinstance(model, dict):
        if isinstance(model.get('pretrained'), str) and 'head' in model:
            # In a classifier it is a file; in a backbone it is a flag.
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
    """Return the pipeline of the validation set, or else of the test set.

    Raises:
        ValueError: The config has no such pipeline.
    """
    for name in ('val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset')
        while dataset is not None:
            if 'pipeline' in dataset:
                return dataset['pipeline']
            inner = (
                dataset.get('dataset') or dataset.get('datasets', [None])[0]
            )
            if inner is None:  # A user's class may set its own pipeline.
                built = DATASETS.build(dataset)
                if hasattr(built, 'pipeline'):
                    return built.pipeline.transforms
            dataset = inner
    raise ValueError(
        'Expected a test pipeline in `val_dataloader` or `test_dataloader` '
        'for references, but got none. Add a `test_dataloader`, with '
        '`test_cfg` and `test_evaluator`. Or set `source=dict(type=..., '
        "pipeline=[..., dict(type='PackInputs')])` of `KReferenceHook`, or "
        '`dataset` of a `ReferenceSet`, with the pipeline of the test '
        'images.'
    )


def check_fields(
    config: dict, kind: type, where: str | Path, given: Sequence[str] = ()
) -> None:
    """Raise if a config has unknown names or lacks fields of a dataclass.

    Args:
        given (Sequence[str]): Fields that come from elsewhere. Defaults to
            none.

    Raises:
        ValueError: A name is unknown, or a field without default is missing.
    """
    wanted = {one.name: one for one in fields(kind) if one.name not in given}
    for key in config:
        if key not in wanted:
            raise ValueError(
                f'Expected {where} to set {", ".join(wanted)}, but got '
                f'{key!r}. {did_you_mean(key, wanted, "Remove it.")}'
            )
    missing = [
        key
        for key, one in wanted.items()
        if key not in config
        and one.default is MISSING
        and one.default_factory is MISSING
    ]
    if missing:
        raise ValueError(
            f'Expected {where} to set {", ".join(missing)}, but '
            f'got {", ".join(config) or "nothing"}. Add '
            f'{missing[0]}.'
        )


def changes(before: dict, now: dict) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two nested dicts, by path.

    Example:
        >>> changes(dict(a=dict(b=1, c=2)), dict(a=dict(b=1, c=3)))
        {'a.c': (2, 3)}
    """
    before, now = dict(_flatten(before)), dict(_flatten(now))
    return {
        path: (before.get(path), now.get(path))
        for path in dict.fromkeys([*before, *now])
        if before.get(path) != now.get(path)
    }


def _flatten(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield path, value
        return
    for key, value in items:
        yield from _flatten(value, f'{path}.{key}' if path else str(key))
