"""Filling the reference bank, and telling the model how much of it to use."""
import os
from typing import Union

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import DATASETS, HOOKS
from torch.nn.parallel import DistributedDataParallel

from ..datasets import draw_images, with_pipeline
from ..datasets.reference_images import SELECT, describe
from ..functional import check_seed
from ..models import AnchoredImageClassifier, AnchoringDataPreprocessor
from .checkpoint_checks import BANK_KEY, check_architecture
from .config_reading import evaluation_pipeline, type_name

# others hold pieces of weights, under other names
_NOT_SHARDED = (AnchoredImageClassifier, BaseTTAModel, DistributedDataParallel)


@HOOKS.register_module()
class KReferenceHook(Hook):
    """Freeze K references for test.

    Before training it fills the model's reference bank, so that every
    checkpoint carries it. Before validation and test it sets K; a bank with
    fewer references than that is drawn again, with a warning. All ranks get
    the bank of rank 0. It also checks that model and data preprocessor are
    both anchoring ones, and starts the training draws.

    A resumed run keeps its checkpoint's references. A run that starts from
    another's weights (``load_from``) draws its own.

    Args:
        num_references (int): K, at least 1. Defaults to 1.
        select (str): ``'random'``: without replacement; ``'per_class'``: the
            same, going round the classes; ``'mean'``: the mean of all images,
            with K = 1. Defaults to ``'random'``. The references for K are the
            first K of those for more.
        source (dict | str, optional): Where references come from: the config
            of a dataset, or a folder of images. Without a ``pipeline`` of its
            own the test pipeline is used. Defaults to None: the training set.
        seed (int): Seed of the draw. Defaults to 0.
        redraw (bool): Draw before training and test whatever the checkpoint
            holds. Defaults to False.

    Raises:
        TypeError: The model or the data preprocessor does not anchor, or
            ``seed`` is no integer.
        ValueError: An argument is out of range, there are not enough images
            to draw from, they have another size than the test images, or a
            checkpoint is of another architecture.
    """

    priority = 'HIGH'  # before EMAHook copies the model

    def __init__(self,
                 num_references: int = 1,
                 select: str = 'random',
                 source: Union[dict, str, None] = None,
                 seed: int = 0,
                 redraw: bool = False):
        if (not isinstance(num_references, int)
                or isinstance(num_references, bool) or num_references < 1):
            raise ValueError('Expected `num_references` to be a positive '
                             f'integer, but got {num_references!r}.')
        if select not in SELECT:
            raise ValueError(
                "Expected `select` to be 'random', 'per_class' or 'mean', "
                f'but got {select!r}.')
        if select == 'mean' and num_references > 1:
            raise ValueError(
                "Expected `num_references=1` with `select='mean'`, since a "
                f'mean is one image, but got {num_references}.')
        self.num_references = num_references
        self.select = select
        self.source = source
        self.seed = check_seed(seed)
        self.redraw = redraw

    def before_run(self, runner: Runner) -> None:
        """Check the model; before training, read references."""
        model = anchored_model(runner)
        if not _is_training(runner):
            return
        reference_set = model.data_preprocessor.reference_set
        if reference_set is not None and reference_set.dataset is None:
            reference_set.load(self._training_set(runner))
        elif reference_set is not None:
            reference_set.images  # reads them: errors come before training
        if len(model.reference_bank) < self.num_references or self.redraw:
            self._fill(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check it; before training, decide between its bank and ours."""
        if isinstance(runner.model, _NOT_SHARDED):
            check_architecture(
                anchored_model(runner), checkpoint.get('state_dict',
                                                       checkpoint),
                runner._load_from or 'the checkpoint')
        if not _is_training(runner):
            return
        for state_dict in (checkpoint.get('state_dict', checkpoint),
                           checkpoint.get('ema_state_dict', {})):
            for key in [k for k in state_dict if k.endswith(BANK_KEY)]:
                saved = state_dict[key]
                if (runner._resume and not self.redraw
                        and len(saved) >= self.num_references):
                    state_dict[key] = saved[:self.num_references].clone()
                    continue
                del state_dict[key]
                runner.logger.warning(
                    f'The {len(saved)} reference(s) of the checkpoint are '
                    f'left, for {self.num_references} drawn anew.')

    def before_train(self, runner: Runner) -> None:
        """Start the training draws, or go on where the checkpoint was."""
        model = anchored_model(runner)
        preprocessor = model.data_preprocessor
        if preprocessor.seed is None:
            seed = torch.tensor([runner.seed])  # may differ between ranks
            broadcast(seed)
            preprocessor.seed = int(seed)
        preprocessor.restart(runner.iter)
        loader = runner.train_dataloader
        if preprocessor.reference_set is None and loader.batch_size == 1:
            raise ValueError(
                'Expected a `batch_size` of at least 2 to draw references '
                'from the batch, but got 1. Enlarge it, or set '
                "`references=dict(type='ReferenceSet', ...)`.")
        if runner.val_loop is not None:
            self._check_size(model, runner.val_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Set K."""
        self._set_num_references(runner)

    def before_test(self, runner: Runner) -> None:
        """Set K."""
        self._set_num_references(runner)

    def _set_num_references(self, runner) -> None:
        model = anchored_model(runner)
        have = len(model.reference_bank)
        redraw = self.redraw and not _is_training(runner)
        if have < self.num_references or redraw:
            held = f'{have} reference(s)' if have else (
                'no reference bank (is it a plain model\'s?)')
            runner.logger.warning(
                f'The checkpoint has {held}, and {self.num_references} are '
                'asked for: drawing them anew.')
            self._fill(runner)
        model.reference_bank.use(self.num_references)

    def _check_size(self, model, dataset) -> None:
        references = model.reference_bank.images.shape[1:]
        image = dataset[0]['inputs'].shape
        if references != image:
            raise ValueError(
                'Expected references of the test images\' size (C, H, W) = '
                f'{tuple(image)}, but got {tuple(references)}. Let the '
                'pipeline of `source` end as the test pipeline does, or the '
                'test pipeline at one size.')

    def _fill(self, runner) -> None:
        model = anchored_model(runner)
        dataset = self._source_dataset(runner)
        images = draw_images(dataset, self.num_references, self.select,
                             self.seed)
        images = images.to(next(model.parameters()).device)
        broadcast(images)  # from rank 0
        model.reference_bank.fill(images)
        runner.logger.info(
            f'Reference bank: {len(images)} image(s) of (C, H, W) = '
            f'{tuple(images.shape[1:])}, select={self.select!r}, '
            f'seed={self.seed}, from the {len(dataset)} of '
            f'{describe(dataset)}.')

    def _source_dataset(self, runner):
        if self.source is None:
            return self._training_set(runner)
        source = self.source
        if isinstance(source, str):
            if not os.path.isdir(source):
                raise ValueError('Expected `source` to be a folder of images '
                                 f'or a dataset config, but got {source!r}, '
                                 'which is no folder.')
            source = dict(
                type='CustomDataset', data_root=source, with_label=False)
        if 'pipeline' not in source:
            pipeline = evaluation_pipeline(runner.cfg)
            loads = any(
                type_name(step).startswith('LoadImage') for step in pipeline)
            if isinstance(self.source, str) and not loads:
                raise ValueError(
                    'Expected a test pipeline that reads files, to read '
                    f'{self.source} with, but it has no LoadImageFromFile '
                    'and its channel order is not known. Give `source` as '
                    "dict(type='CustomDataset', data_root=..., "
                    'with_label=False, pipeline=[...]).')
            source = dict(source, pipeline=pipeline)
        return _build(source, '`source`')

    def _training_set(self, runner):
        if _is_training(runner):
            dataset = runner.train_dataloader.dataset
        else:
            loader = runner.cfg.get('train_dataloader')
            if loader is None:
                raise ValueError(
                    'Expected a `train_dataloader` in the config to draw '
                    f'{self.num_references} reference(s) from, but there is '
                    'none. Lower `num_references` to what the checkpoint '
                    'has, or name a `source`.')
            dataset = _build(loader['dataset'], 'The training set')
        return with_pipeline(dataset, evaluation_pipeline(runner.cfg))


def anchored_model(runner: Runner) -> AnchoredImageClassifier:
    """The anchored classifier a runner holds, out of its wrappers.

    Raises:
        TypeError: The model or its data preprocessor does not anchor.
    """
    model = runner.model
    while (not isinstance(model, AnchoredImageClassifier)
           and isinstance(getattr(model, 'module', None), torch.nn.Module)):
        model = model.module  # DDP, test-time augmentation
    if isinstance(model, AnchoredImageClassifier):
        return model
    preprocessor = getattr(model, 'data_preprocessor', None)
    also = (', whose AnchoringDataPreprocessor would feed it 2C channels'
            if isinstance(preprocessor, AnchoringDataPreprocessor) else '')
    raise TypeError(
        'Expected an AnchoredImageClassifier where `custom_hooks` has '
        f'KReferenceHook, but got {type(model).__name__}{also}. Set '
        "`model = dict(type='AnchoredImageClassifier')`.")


def _is_training(runner) -> bool:
    # a property of the same name would build the loop
    return isinstance(runner._train_loop, BaseLoop)


def _build(dataset: dict, what: str):
    try:
        return DATASETS.build(dataset)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f'{what} could not be read to draw references from: {error}. '
            'Put the data there, name another `source`, or lower '
            '`num_references` to what the checkpoint has.') from error
