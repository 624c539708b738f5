"""What configs say, however they say it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import (
    Any,
)

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from .names import did_you_mean


def _shipped(package: Path, name: str) -> Path:
    """The folder ``configs`` or ``tools``, of a wheel or of a clone.

    A wheel has it in the package. A clone has a link to it there, or a text
    file where the system makes no links, as on Windows.
    """
    inside = package / '.mim' / name
    return inside if inside.is_dir() else package.parent / name


CONFIG_DIR = _shipped(Path(__file__).parents[1], 'configs')


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config file, and change it.

    Args:
        path (str | Path): See :func:`config_path`.
        options (dict, optional): Changes, as ``{'model.backbone.depth': 18}``.
            Defaults to None: none.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: Several have that name.
    """
    cfg = Config.fromfile(config_path(path))
    cfg.merge_from_dict(options or {})
    return cfg


def config_path(path: str | Path) -> Path:
    """Find a config: a file, or one that comes with mmanchor.

    Args:
        path (str | Path): A file's path, or the name of a config in
            ``CONFIG_DIR``. The name may begin with ``configs/``, go without
            ``.py`` and, if no other file is called the same, without its
            folder.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: Several have that name.

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
            f'Expected a name that one config has, but {", ".join(same)} have '
            f'{name!r}. Name the folder, too.'
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
    """The name of what a config builds, or of what is built already."""
    kind = config['type'] if isinstance(config, dict) else type(config)
    return getattr(kind, '__name__', kind).rpartition('.')[2]


@contextmanager
def scope_of(cfg: Config) -> Iterator[None]:
    """Look types up where a config says, or else among MMPretrain's.

    Example:
        >>> with scope_of(Config(dict(default_scope='mine'))):
        ...     DefaultScope.get_current_instance().scope_name
        'mine'
    """
    scope = cfg.get('default_scope') or 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        yield


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
        'for references to go through, but found none. Add a '
        '`test_dataloader`, with `test_cfg` and `test_evaluator`. Or say '
        'where references come from and how: `source=dict(type=..., '
        "pipeline=[..., dict(type='PackInputs')])` of `KReferenceHook`, or "
        'the same as `dataset` of a `ReferenceSet`, with the steps that test '
        'images are to go through.'
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
