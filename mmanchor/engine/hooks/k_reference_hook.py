"""Fills the reference bank, and sets the protocol for test."""

from collections.abc import Sequence
from logging import Logger

import torch
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, METRICS
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from ...checkpoints.verification import (
    BANK_KEY,
    RESIDUALS_KEY,
    check_architecture,
)
from ...datasets import draw_images, draw_pairs
from ...datasets.reference_sampling import SELECT, describe
from ...functional import check_seed, check_uncertainty
from ...models import AnchoredImageClassifier
from ...models.data_preprocessor import check_settings_reach_the_model
from ...models.inference.protocols import build_protocol, check_measures
from ..distributed import check_whole_weights
from ..rank_agreement import check_ranks_agree, read_on_first_rank
from ..reference_source import (
    anchored_model,
    dataset_of_set,
    is_training,
    loaded_training_set,
    only_plots_schedule,
    source_dataset,
)

# Prefixes of names in the log for which not every batch has a value.
_LOGGED = ('masked_share', 'masked_entropy', 'accuracy_top-')
# Other wrappers, such as FSDP, hold shards of weights under other names.
_WHOLE_MODELS = (
    AnchoredImageClassifier,
    BaseTTAModel,
    DistributedDataParallel,
)


@HOOKS.register_module()
class KReferenceHook(Hook):
    """Freeze K references for test.

    Before training, the hook fills the model's reference bank, so that every
    checkpoint contains it. Before validation and test, it sets K and the
    protocol; if the bank has fewer references than that, the hook warns and
    draws new ones. Of several ranks, only rank 0 reads references and sends
    them to the others. The hook also checks that both the model and the data
    preprocessor anchor, and starts the random draws of training. The log
    shows ``masked_share`` and ``masked_entropy`` as means over the batches
    since the previous line, unless ``log_processor`` says otherwise.

    A resumed run uses the references of its checkpoint. A run that starts
    from other weights (``load_from``) draws its own.

    Args:
        num_references (int): Number of references K, at least 1. Defaults
            to 1.
        protocol (str | dict): How references are used in validation and test.
            ``'mean'`` averages over K; ``'single'`` uses the first one;
            ``'transduction'`` uses the best of 50 for each image, or of M
            with ``dict(type='transduction', num_candidates=M)``;
            ``'adaptive'`` uses as many of the K as an image needs, and adds
            the metric ``references/mean_used``. Other protocols come from
            the registry ``PROTOCOLS``. See
            :func:`~mmanchor.models.build_protocol`. Defaults to
            ``'mean'``.
        uncertainty (str | Sequence[str]): Measures of uncertainty to add to
            predictions, or ``'all'``; see
            :func:`~mmanchor.functional.check_uncertainty`. Defaults to none.
            Predictions always have ``pred_std``, except with ``'adaptive'``,
            which also refuses measures of the spread over references.
        select (str): How references are drawn. ``'random'`` draws without
            replacement; ``'per_class'`` does so from one class after the
            other; ``'mean'`` takes the mean of all images, with K = 1. The
            references for a smaller K are the first of those for a larger
            one. Defaults to ``'random'``.
        source (dict | str, optional): The config of a dataset, or a folder of
            images, that references are drawn from. It goes through the test
            pipeline unless it has a ``pipeline``. Defaults to None: the
            ``ReferenceSet`` of training, or else the training set.
        seed (int): Seed of the draw. Defaults to 0.
        redraw (bool): Draw new references before training and test even if
            the checkpoint has enough. Otherwise ``select``, ``source`` and
            ``seed`` only apply to references that it lacks. Defaults to
            False.

    Raises:
        TypeError: The model or the data preprocessor does not anchor,
            ``seed`` is no integer, or the protocol does not take an argument.
        ValueError: An argument is out of its range, there are not enough
            images to draw from, their size differs from the test images',
            settings of the data preprocessor would be ignored, a checkpoint
            is of another architecture, or the ranks of a run start from
            different states.
    """

    priority = 'HIGH'  # Fills the bank before EMAHook copies the model.

    def __init__(
        self,
        num_references: int = 1,
        select: str = 'random',
        source: dict | str | None = None,
        seed: int = 0,
        redraw: bool = False,
        protocol: str | dict = 'mean',
        uncertainty: str | Sequence[str] = (),
    ):
        if (
            not isinstance(num_references, int)
            or isinstance(num_references, bool)
            or num_references < 1
        ):
            raise ValueError(
                'Expected `num_references` to be a positive '
                f'integer, but got {num_references!r}.'
            )
        if select not in SELECT:
            raise ValueError(
                "Expected `select` to be 'random', 'per_class' or 'mean', "
                f'but got {select!r}.'
            )
        self.protocol = build_protocol(protocol)
        self.uncertainty = check_uncertainty(uncertainty)
        check_measures(self.protocol, self.uncertainty)
        self.num_references = num_references
        if num_references < self.protocol.least_references:
            raise ValueError(
                'Expected `num_references` of at least '
                f'{self.protocol.least_references} for the protocol '
                f'{self.protocol.name!r}, but got {num_references}. Raise it.'
            )
        if select == 'mean' and self.needed > 1:
            raise ValueError(
                "Expected one reference with `select='mean'`, since a mean is "
                f'one image, but got {self.needed}. Set `num_references=1`, '
                "or `protocol='single'`."
            )
        self.select = select
        self.source = source
        self.seed = check_seed(seed)
        self.redraw = redraw
        self._line_was_written = False
        self._logged_by_config: set[str] | None = set()

    @property
    def needed(self) -> int:
        """Number of references that the protocol needs in the bank."""
        return self.protocol.references_needed(self.num_references)

    def before_run(self, runner: Runner) -> None:
        """Check the model, and fill its bank if the run trains."""
        if only_plots_schedule(runner):
            return
        check_whole_weights(runner)
        model = anchored_model(runner)
        check_settings_reach_the_model(runner.cfg)
        if not is_training(runner):
            return
        training = loaded_training_set(runner)
        if model.data_preprocessor.reference_set is not None:
            self._load_set(
                model.data_preprocessor.reference_set, runner.cfg, training
            )
        bank = model.reference_bank
        if len(bank) < self.needed or self.redraw:
            self._fill(model, runner.cfg, runner.logger, training)
        if (
            len(bank.residual_pairs) < self.protocol.num_residuals
            or self.redraw
        ):
            self._fill_residuals(model, runner.cfg, runner.logger, training)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the checkpoint, and choose the bank that training uses."""
        if only_plots_schedule(runner):
            return
        if isinstance(runner.model, _WHOLE_MODELS):
            check_architecture(
                anchored_model(runner),
                checkpoint.get('state_dict', checkpoint),
                runner._load_from or 'the checkpoint',
            )
        if not is_training(runner):
            return
        for state_dict in (
            checkpoint.get('state_dict', checkpoint),
            checkpoint.get('ema_state_dict', {}),
        ):
            self._choose_bank(runner, state_dict)

    def _choose_bank(self, runner, state_dict) -> None:
        """Write the new references to a state dict unless it resumes a run."""
        bank = anchored_model(runner).reference_bank
        for ending, what, count, ours in (
            (BANK_KEY, 'reference(s)', self.needed, bank.images),
            (
                RESIDUALS_KEY,
                'residual(s)',
                self.protocol.num_residuals,
                bank.residual_pairs,
            ),
        ):
            for bank_key in [k for k in state_dict if k.endswith(BANK_KEY)]:
                key = bank_key.replace(BANK_KEY, ending)
                saved = state_dict.get(key, ours[:0])
                if runner._resume and not self.redraw and len(saved) >= count:
                    state_dict[key] = saved[:count].clone()
                    continue
                state_dict[key] = ours.clone()
                if len(saved):
                    runner.logger.warning(
                        f'The {len(saved)} {what} of the checkpoint are '
                        f'replaced by {count} new ones.'
                    )

    def before_train(self, runner: Runner) -> None:
        """Start the random draws of training at the current iteration."""
        if only_plots_schedule(runner):
            return
        model = anchored_model(runner)
        preprocessor = model.data_preprocessor
        if preprocessor.seed is None:
            seed = torch.tensor([runner.seed])  # It may differ between ranks.
            broadcast(seed)
            preprocessor.seed = int(seed)
        preprocessor.restart(runner.iter)
        check_ranks_agree(
            {
                'the epoch': runner.epoch,
                'the iteration counter': preprocessor.iteration,
                'the reference bank': model.reference_bank.images,
                'the residual pairs': model.reference_bank.residual_pairs,
            }
        )
        self._log_means(runner)
        loader = runner.train_dataloader
        if preprocessor.reference_set is None and loader.batch_size == 1:
            raise ValueError(
                'Expected a `batch_size` of at least 2 to draw references '
                'from the batch, but got 1. Enlarge it, or set '
                "`references=dict(type='ReferenceSet', ...)`."
            )
        if runner.val_loop is not None:
            self._check_size(model, runner.val_dataloader.dataset)

    def before_train_iter(self, runner: Runner, *_, **__) -> None:
        """Remove values that the log has shown from its history.

        A batch without such a value would otherwise repeat the previous one.
        """
        if not self._line_was_written or self._logged_by_config is None:
            return
        self._line_was_written = False
        scalars = runner.message_hub.log_scalars
        for key in [*scalars]:
            name = key.removeprefix('train/')
            if name.startswith(_LOGGED) and name not in self._logged_by_config:
                del scalars[key]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Remember whether the loggers will write a line after this batch."""
        if only_plots_schedule(runner):
            return
        self._line_was_written = any(
            _writes_a_line(hook, runner.train_dataloader, batch_idx)
            for hook in runner.hooks
            if isinstance(hook, LoggerHook)
        )

    def _log_means(self, runner) -> None:
        """Let the log show means, unless the config sets what it shows."""
        shown = getattr(runner.log_processor, 'custom_cfg', None)
        if shown is None:  # The log processor is a class of the user.
            self._logged_by_config = None
            return
        ours = [
            dict(data_src=name, method_name='mean', window_size='global')
            for name in _LOGGED[:2]
        ]
        self._logged_by_config = {
            config['data_src'] for config in shown if config not in ours
        }
        shown += [
            config
            for config in ours
            if config['data_src'] not in self._logged_by_config
            and config not in shown
        ]

    def before_val(self, runner: Runner) -> None:
        """Set K, the protocol and measures of uncertainty."""
        self._set_protocol(runner, runner.val_loop.evaluator)

    def before_test(self, runner: Runner) -> None:
        """Set K, the protocol and measures of uncertainty."""
        self._set_protocol(runner, runner.test_loop.evaluator)

    def _set_protocol(self, runner, evaluator) -> None:
        model = anchored_model(runner)
        self.set_references(
            model, runner.cfg, runner.logger, loaded_training_set(runner)
        )
        # Test-time augmentation reports the count of its first view only.
        if (
            not self.protocol.same_number
            and not isinstance(runner.model, BaseTTAModel)
            and not any(
                type(metric).__name__ == 'ReferencesUsed'
                for metric in evaluator.metrics
            )
        ):
            evaluator.metrics.append(
                METRICS.build(dict(type='mmpretrain.ReferencesUsed'))
            )

    def set_references(
        self,
        model: AnchoredImageClassifier,
        cfg: Config,
        logger: Logger,
        training: Dataset | None = None,
    ) -> None:
        """Set K, the protocol and the measures of uncertainty of a model.

        New references are drawn if the model has too few.

        Args:
            model (AnchoredImageClassifier): The model.
            cfg (Config): The config that it was trained with.
            logger (Logger): The logger that reports what is drawn.
            training (Dataset, optional): The training set, during training.
                Defaults to None.

        Raises:
            ValueError: There are not enough images to draw from.
        """
        bank = model.reference_bank
        for have, wanted, what, fill in (
            (len(bank), self.needed, 'reference(s)', self._fill),
            (
                len(bank.residual_pairs),
                self.protocol.num_residuals,
                'residual(s)',
                self._fill_residuals,
            ),
        ):
            if have < wanted or (self.redraw and training is None):
                present = f'{have} {what}'
                if fill == self._fill and not have:
                    present = "no reference bank (is it a plain model's?)"
                logger.warning(
                    f'The checkpoint has {present}, but {wanted} are needed: '
                    'new ones are drawn.'
                )
                fill(model, cfg, logger, training)
            elif wanted and training is None:
                logger.info(
                    f"Testing with {wanted} of the model's "
                    f'{have} {what}; `redraw=True` draws others.'
                )
        bank.use(self.needed)
        model.protocol = self.protocol
        model.uncertainty = self.uncertainty

    def _check_size(self, model, dataset) -> None:
        references = model.reference_bank.images.shape[1:]
        image = dataset[0]['inputs'].shape
        if references != image:
            raise ValueError(
                "Expected references of the test images' size (C, H, W) = "
                f'{tuple(image)}, but got {tuple(references)}. Let the '
                'pipelines of `source` and of the test set end at the same '
                'size.'
            )

    @staticmethod
    def _load_set(reference_set, cfg, training) -> None:
        """Read the reference set early, so that errors come early."""

        def read():
            reference_set.load(dataset_of_set(cfg, reference_set, training))
            return reference_set.images, ''

        reference_set.images, _ = read_on_first_rank(read)

    def _fill(self, model, cfg, logger, training) -> None:
        def read():
            dataset = source_dataset(
                cfg,
                self.source,
                training,
                model.data_preprocessor.reference_set,
            )
            images = draw_images(dataset, self.needed, self.select, self.seed)
            return images, f'the {len(dataset)} of {describe(dataset)}'

        images, source = read_on_first_rank(read)
        model.reference_bank.fill(images.to(next(model.parameters()).device))
        logger.info(
            f'Reference bank: {len(images)} image(s) of (C, H, W) = '
            f'{tuple(images.shape[1:])}, select={self.select!r}, '
            f'seed={self.seed}, from {source}.'
        )

    def _fill_residuals(self, model, cfg, logger, training) -> None:
        """Draw pairs of images, whose differences are the residuals."""
        count = self.protocol.num_residuals
        if not count:
            return

        def read():
            dataset = source_dataset(cfg, self.source, training)
            return draw_pairs(dataset, count, self.seed), describe(dataset)

        pairs, source = read_on_first_rank(read)
        model.reference_bank.fill_residuals(
            pairs.to(next(model.parameters()).device)
        )
        logger.info(
            f'Residuals: {count} between images of {source}, '
            f'{pairs.nbytes / 2**20:.1f} MiB in every checkpoint.'
        )


def _writes_a_line(hook: LoggerHook, loader, batch_idx: int) -> bool:
    """Return whether a logger writes a line after a training batch."""
    return hook.every_n_inner_iters(batch_idx, hook.interval) or (
        hook.end_of_epoch(loader, batch_idx)
        and (not hook.ignore_last or len(loader) <= hook.interval)
    )
