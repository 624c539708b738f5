"""Finds the dataset that the references of a run are drawn from."""

import inspect
import os

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import BaseLoop, Runner
from mmpretrain.models.classifiers.base import BaseClassifier
from mmpretrain.registry import DATASETS

from ..datasets import PlainDataset, ReferenceSet, with_pipeline
from ..datasets.reference_sampling import has_pipeline
from ..models import AnchoredImageClassifier, AnchoringDataPreprocessor
from ..utils.config import evaluation_pipeline, scope_of, type_name


def anchored_model(runner: Runner) -> AnchoredImageClassifier:
    """Return the anchored classifier of a runner, without its wrappers.

    Raises:
        TypeError: The model or its data preprocessor does not anchor.
    """
    model = runner.model
    while not isinstance(model, AnchoredImageClassifier) and isinstance(
        getattr(model, 'module', None), torch.nn.Module
    ):
        model = model.module  # The wrapper is DDP or test-time augmentation.
    if isinstance(model, AnchoredImageClassifier):
        return model
    preprocessor = getattr(model, 'data_preprocessor', None)
    also = (
        ', whose AnchoringDataPreprocessor would feed it 2C channels'
        if isinstance(preprocessor, AnchoringDataPreprocessor)
        else ''
    )
    raise TypeError(
        'Expected an AnchoredImageClassifier where `custom_hooks` has '
        f'KReferenceHook, but got {type(model).__name__}{also}. Set '
        "`model = dict(type='AnchoredImageClassifier')`."
    )


def model_with_halves(runner: Runner, hook: Hook) -> AnchoredImageClassifier:
    """Return the anchored classifier of a runner if its stem was widened.

    Raises:
        TypeError: The model or its data preprocessor does not anchor.
        ValueError: The backbone was built for 2C channels, so that its stem
            has no halves for references and residuals.
    """
    model = anchored_model(runner)
    if model.stem_distance is None:
        raise ValueError(
            f'Expected a widened stem for {type(hook).__name__}, but got '
            f'{type(model.backbone).__name__}, which was built for 2C '
            'channels. Take the hook out of `custom_hooks`.'
        )
    return model


def only_plots_schedule(runner: Runner) -> bool:
    """Return whether MMPretrain's ``vis_scheduler.py`` runs the hooks.

    To plot a learning-rate schedule, that script runs all hooks of a config
    with a placeholder model, a runner without a config, and a list instead of
    a data loader. Hooks then have nothing to do.
    """
    model = getattr(runner.model, 'module', runner.model)
    if isinstance(model, (BaseClassifier, BaseTTAModel)):
        return False
    return not runner.cfg.get('model')


def is_training(runner: Runner) -> bool:
    """Return whether a runner trains, rather than tests."""
    # The property `train_loop` would build the loop.
    return isinstance(runner._train_loop, BaseLoop)


def loaded_training_set(runner: Runner):
    """Return the training set of a runner, or None if the runner tests."""
    return runner.train_dataloader.dataset if is_training(runner) else None


def source_dataset(
    cfg: Config,
    source: dict | str | None,
    training=None,
    reference_set: ReferenceSet | None = None,
):
    """Return the dataset that references are drawn from.

    Its images go through the test pipeline.

    Args:
        source (dict | str, optional): See
            :class:`~mmanchor.engine.KReferenceHook`.
        reference_set (ReferenceSet, optional): The subset to draw from if
            there is no ``source``.

    Raises:
        ValueError: There is no dataset, or it can't be read.
    """
    with scope_of(cfg):
        if source is not None:
            return _named_dataset(cfg, source, '`source`')
        if reference_set is None:
            return training_set(cfg, training)
    return reference_set.subset(dataset_of_set(cfg, reference_set, training))


def dataset_of_set(cfg: Config, reference_set: ReferenceSet, training=None):
    """Return the dataset that a reference set is a subset of.

    Raises:
        ValueError: The dataset can't be read.
    """
    with scope_of(cfg):
        if reference_set.dataset is None:
            return training_set(cfg, training)
        return _named_dataset(cfg, reference_set.dataset, 'The reference set')


def _named_dataset(cfg: Config, source: dict | str, what: str):
    config = source
    if isinstance(source, str):
        if not os.path.isdir(source):
            raise ValueError(
                'Expected `source` to be a folder of images '
                f'or a dataset config, but got {source!r}, '
                'which is no folder. Correct the path.'
            )
        config = dict(
            type='mmpretrain.CustomDataset', data_root=source, with_label=False
        )
    if 'pipeline' not in config and _takes_pipeline(config):
        pipeline = evaluation_pipeline(cfg)
        loads = any(
            type_name(step).startswith('LoadImage') for step in pipeline
        )
        if isinstance(source, str) and not loads:
            raise ValueError(
                'Expected a test pipeline that reads files, to read '
                f'{source} with, but it has no LoadImageFromFile '
                'and its channel order is not known. Give `source` as '
                "dict(type='CustomDataset', data_root=..., "
                'with_label=False, pipeline=[...]).'
            )
        config = dict(config, pipeline=pipeline)
    dataset = _build(config, what)
    if has_pipeline(dataset):
        return dataset
    preprocessor = cfg.get('data_preprocessor') or {}
    model = cfg.get('model') or {}
    preprocessor = model.get('data_preprocessor') or preprocessor
    return PlainDataset(
        dataset,
        evaluation_pipeline(cfg),
        'bgr' if preprocessor.get('to_rgb') else 'rgb',
    )


def _takes_pipeline(config: dict) -> bool:
    """Return whether a dataset takes a pipeline; torchvision's do not."""
    kind = config['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    inits = (
        [vars(one).get('__init__') for one in inspect.getmro(kind)]
        if inspect.isclass(kind)
        else [kind]
    )
    return any(
        'pipeline' in inspect.signature(init).parameters
        for init in inits
        if inspect.isfunction(init)
    )


def training_set(cfg: Config, loaded=None):
    """Return the training set with the test pipeline.

    Raises:
        ValueError: The config has no training set, or it can't be read.
    """
    dataset = loaded
    if dataset is None:
        loader = cfg.get('train_dataloader')
        if loader is None:
            raise ValueError(
                'Expected a `train_dataloader` in the config to draw '
                'reference(s) or residuals from, but there is none. Lower '
                '`num_references` to what the checkpoint has, name another '
                '`protocol`, or name a `source`.'
            )
        dataset = _build(loader['dataset'], 'The training set')
    return with_pipeline(dataset, evaluation_pipeline(cfg))


def _build(dataset: dict, what: str):
    try:
        return DATASETS.build(dataset)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f'{what} could not be read to draw references from: {error}. '
            'Put the data there, name another `source`, or lower '
            '`num_references` to what the checkpoint has.'
        ) from error
