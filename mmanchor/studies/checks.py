"""Configs of a grid, looked through before any of them is trained."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator

from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmpretrain.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    MODELS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)
from torch.utils.data import DataLoader

from ..utils.names import check_arguments, named_arguments
from .data_root import with_data_root
from .training import Nowhere, Training

# what the host takes out before it builds
_NOT_ARGUMENTS = {'type', '_scope_', 'priority'}


def check_trainable(
    trainings: Iterable[Training], data_root: str, here: bool = True
) -> None:
    """Refuse what would fail only when its turn comes, maybe hours later.

    Models, optimizers and wrappers of the training set are built; of loops,
    hooks, datasets, samplers and transforms the names of arguments are looked
    at. Data that is not there is left for training to find.

    Args:
        trainings (Iterable[Training]): Those to come.
        data_root (str): Where data sets are.
        here (bool): Whether this machine is to train. Another may have the
            GPU that mixed precision asks for, so its absence is no fault
            then. Defaults to True.

    Raises:
        ValueError: A config has an argument that its class does not take, or
            one of a value that it refuses.
    """
    tried: set[str] = set()
    for training in _with_starts(trainings):
        cfg = with_data_root(training.cfg, data_root)
        for names, check in _CHECKS.items():
            parts = {
                name: copy.deepcopy(cfg[name])
                for name in names
                if cfg.get(name)
            }
            # settings have most parts in common
            if repr(parts) in tried:
                continue
            tried.add(repr(parts))
            try:
                if not here and check is _model:
                    parts.update(optim_wrapper=_in_full_precision(**parts))
                with contextlib.redirect_stdout(Nowhere()):
                    check(**parts)
            except Exception as error:  # classes refuse as they like
                reason = str(error)
                raise ValueError(
                    f'Expected {training.name} to have a config that can be '
                    f'trained, but got, of `{"`, `".join(parts)}`: {reason}'
                    + ('' if reason.endswith(('.', '?')) else '.')
                    + ' Nothing was trained; change the study.'
                ) from error


def _with_starts(trainings: Iterable[Training]) -> Iterator[Training]:
    for one in trainings:
        while one is not None:
            yield one
            one = one.start


def _preprocessor(data_preprocessor: dict | None = None) -> None:
    if data_preprocessor:
        MODELS.build({'type': 'ClsDataPreprocessor', **data_preprocessor})


def _model(model: dict, optim_wrapper: dict, param_scheduler=()) -> None:
    """Together: what is optimised are the model's parameters."""
    optimizer = build_optim_wrapper(MODELS.build(model), optim_wrapper)
    if isinstance(param_scheduler, dict):
        param_scheduler = [param_scheduler]
    for one in param_scheduler:
        one.pop('convert_to_iter_based', None)
        PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer))


def _optim_wrapper(optim_wrapper: dict) -> None:
    kind = _class({'type': 'OptimWrapper', **optim_wrapper}, OPTIM_WRAPPERS)
    _check_names(optim_wrapper, kind, 'constructor', 'paramwise_cfg')


def _in_full_precision(optim_wrapper: dict, **_) -> dict:
    """The wrapper's config without what only a GPU can build."""
    if (
        _class({'type': 'OptimWrapper', **optim_wrapper}, OPTIM_WRAPPERS)
        is not AmpOptimWrapper
    ):
        return optim_wrapper
    known = {*named_arguments(OptimWrapper), 'constructor', 'paramwise_cfg'}
    return {
        name: value for name, value in optim_wrapper.items() if name in known
    }


def _loop(train_cfg: dict) -> None:
    usual = (
        EpochBasedTrainLoop
        if train_cfg.pop('by_epoch', True)
        else IterBasedTrainLoop
    )
    _check_names(
        train_cfg, _class(train_cfg, LOOPS) if 'type' in train_cfg else usual
    )


def _hooks(default_hooks: dict | None = None, custom_hooks=()) -> None:
    for one in (*(default_hooks or {}).values(), *custom_hooks):
        if isinstance(one, dict):
            _check_names(one, _class(one, HOOKS))


def _data(train_dataloader: dict) -> None:
    _check_names(train_dataloader, DataLoader, 'num_batch_per_epoch')
    for name in ('sampler', 'batch_sampler'):
        if isinstance(train_dataloader.get(name), dict):
            one = train_dataloader[name]
            _check_names(one, _class(one, DATA_SAMPLERS))
    _dataset(train_dataloader['dataset'])


def _dataset(config: dict):
    """Build a wrapper, and nothing else; None if its data is not there."""
    _check_names(config, _class(config, DATASETS))
    for step in config.get('pipeline') or ():
        if isinstance(step, dict):
            _check_names(step, _class(step, TRANSFORMS))
    for one in config.get('datasets') or ():
        _dataset(one)
    inside = config.get('dataset')
    if not isinstance(inside, dict):
        return
    _dataset(inside)
    try:
        built = DATASETS.build(inside)
    except Exception:  # training says what is wrong with its data
        return
    DATASETS.build(dict(config, dataset=built))


def _class(config: dict, registry: Registry) -> Callable | None:
    kind = config.get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def _check_names(config: dict, kind: Callable | None, *others: str) -> None:
    """Refuse an argument that a class, or function, does not take."""
    if kind is None:  # of a library that is not imported yet
        return
    check_arguments(config, kind, others=(*others, *_NOT_ARGUMENTS))


_CHECKS: dict[tuple[str, ...], Callable] = {
    ('data_preprocessor',): _preprocessor,
    ('optim_wrapper',): _optim_wrapper,
    ('model', 'optim_wrapper', 'param_scheduler'): _model,
    ('train_cfg',): _loop,
    ('default_hooks', 'custom_hooks'): _hooks,
    ('train_dataloader',): _data,
}
