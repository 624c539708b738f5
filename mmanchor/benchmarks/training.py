"""Training steps to time."""

import copy
import random

from ..diagnostics.backbone_check import build_model, build_optim_wrapper
from .inference import Case, autocast
from .naive import naive_training_rows
from .settings import BenchmarkSettings
from .setup import Setup, copy_fitting, endless_batches, normalised


def training_cases(
    setup: Setup, settings: BenchmarkSettings
) -> dict[str, Case]:
    """From a loader's batch to the weights' update.

    Args:
        setup (Setup): Its models are copied.
        settings (BenchmarkSettings): What is timed.
    """
    cases = {}
    for name in settings.of_group('train'):
        batches = _batches(setup, settings, settings.seed)
        cfg = setup.cfg if name == 'anchored' else setup.plain_cfg
        if name == 'naive':
            model = _widened_by_hand(setup)
            others = _batches(setup, settings, settings.seed + 1)
            prepare = _naive_preparation(
                model, batches, others, setup, settings
            )
        else:
            model = copy.deepcopy(
                setup.plain if name == 'standard' else setup.anchored
            )
            prepare = _preparation(model, batches)
        model.to(settings.device).train()
        # so slow that weights, and with them the work, stay as they are
        optimizer = build_optim_wrapper(model, cfg, lr_scale=1e-6)
        cases[name] = Case(
            name,
            _training_step(model, optimizer, prepare, settings),
            (model, optimizer.optimizer),
            name == 'naive',
        )
    return cases


def _batches(setup, settings, seed):
    return endless_batches(
        setup.images,
        setup.anchored.head.num_classes,
        settings.batch_size,
        settings.device == 'cuda',
        seed,
    )


def _widened_by_hand(setup):
    """The host's own classifier around a backbone for 2C channels."""
    model = build_model(setup.plain_cfg)
    model.backbone = copy.deepcopy(setup.anchored.backbone)
    copy_fitting(setup.anchored, model)
    return model


def _preparation(model, batches):
    return lambda: model.data_preprocessor(next(batches), training=True)


def _naive_preparation(model, batches, others, setup, settings):
    coin = random.Random(settings.seed)
    mask_prob = setup.anchored.data_preprocessor.mask_prob

    def prepare():
        data = model.data_preprocessor(next(batches), training=True)
        references = normalised(model, next(others)['inputs'])
        data['inputs'] = naive_training_rows(
            data['inputs'], references, coin.random() < mask_prob
        )
        return data

    return prepare


def _training_step(model, optimizer, prepare, settings):

    def work():
        data = prepare()
        with autocast(settings):
            losses = model(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)

    return work
