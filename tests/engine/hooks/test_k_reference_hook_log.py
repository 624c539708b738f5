"""What the log shows of masking: means over the batches of each line."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.reference_runs import hook
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

SHOWN = ('masked_share', 'masked_entropy', 'accuracy_top-1')


@HOOKS.register_module()
class RecordOutputs(Hook):
    """Keeps what every training step returns."""

    def __init__(self):
        self.outputs = []

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        self.outputs.append(
            {key: float(outputs[key]) for key in SHOWN if key in outputs}
        )


def train(run, interval=2, epochs=4, **options):
    """The lines of the log by iteration, and the outputs of all steps."""
    hooks = hook()['custom_hooks'] + [dict(type='RecordOutputs')]
    runner = run(
        custom_hooks=hooks,
        **{
            'train_cfg.max_epochs': epochs,
            'default_hooks.logger.interval': interval,
            **options,
        },
    )
    runner.train()
    (recorded,) = (h for h in runner.hooks if isinstance(h, RecordOutputs))
    text = Path(runner.log_dir, 'vis_data/scalars.json').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if 'loss' in line], recorded.outputs


def means(outputs):
    """What a line is to show of some steps."""
    return {
        key: np.mean([output[key] for output in outputs if key in output])
        for key in SHOWN[:2]
        if any(key in output for output in outputs)
    }


def check(lines, outputs, ends):
    assert [line['iter'] for line in lines] == ends
    for start, end, line in zip([0, *ends], ends, lines):
        shown = {key: line[key] for key in SHOWN[:2] if key in line}
        assert shown == pytest.approx(means(outputs[start:end]), abs=1e-6)
        assert ('accuracy_top-1' in line) == any(
            'accuracy_top-1' in output for output in outputs[start:end]
        )


@pytest.mark.parametrize(
    'masks',
    [
        dict(mask_prob=0.5, seed=2),
        dict(mask_prob=0.1, mask_by='sample', seed=2),
    ],
    ids=['batch', 'sample'],
)
def test_every_line_has_the_means_of_its_own_batches(run, masks):
    # four batches an epoch
    lines, outputs = train(run, data_preprocessor=masks)
    check(lines, outputs, [2, 4, 6, 8, 10, 12, 14, 16])
    shares = [line['masked_share'] for line in lines]
    assert any(0 < share < 1 for share in shares)


def test_a_line_without_masked_batches_repeats_no_entropy(run):
    lines, outputs = train(
        run, interval=1, data_preprocessor=dict(mask_prob=0.5, seed=2)
    )
    check(lines, outputs, [*range(1, 17)])
    assert {'masked_entropy' in line for line in lines} == {True, False}
    assert {'accuracy_top-1' in line for line in lines} == {True, False}


def test_a_line_of_the_log_may_span_two_epochs(run):
    lines, outputs = train(
        run, interval=3, data_preprocessor=dict(mask_prob=0.5, seed=2)
    )
    check(lines, outputs, [3, 7, 11, 15])


def test_means_of_a_resumed_run_with_accumulated_gradients(run):
    options = {
        'interval': 3,
        'optim_wrapper.accumulative_counts': 2,
        'data_preprocessor.mask_prob': 0.5,
        'data_preprocessor.seed': 2,
    }
    expected, outputs = train(run, **options)
    check(expected, outputs, [3, 7, 11, 15])
    _, first = train(run, epochs=1, **options)
    lines, then = train(run, epochs=4, resume=True, **options)
    assert len(first) == 4 and len(then) == 12
    keys = SHOWN[:1]  # weights differ; masks do not
    assert [[line[key] for key in keys] for line in lines[-3:]] == [
        [line[key] for key in keys] for line in expected[-3:]
    ]


def test_a_log_that_the_config_describes_stays_as_it_is(run):
    shown = dict(data_src='masked_share', method_name='mean', window_size=4)
    lines, outputs = train(
        run,
        epochs=2,
        data_preprocessor=dict(mask_prob=0.5, seed=2),
        log_processor=dict(custom_cfg=[shown]),
    )
    shares = [output['masked_share'] for output in outputs]
    assert [line['masked_share'] for line in lines] == pytest.approx(
        [np.mean(shares[max(0, end - 4) : end]) for end in (2, 4, 6, 8)]
    )
