"""One model on one set: predictions and metrics."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from mmanchor.suite.candidates import Candidate
from mmanchor.suite.images import ImageBatches
from mmanchor.suite.measure import (
    METRIC_CONFIGS,
    REFERENCE_METRICS,
    measure,
    predict_batch,
)
from mmanchor.suite.spec import Cell

KEPT = (1, 2, 5, 8)
DIGITS = dict(type='Digits', split='test', indices=40)
FEWER = dict(type='FewerDigits', ann_file='', test_mode=True)


@DATASETS.register_module()
class FewerDigits(BaseDataset):
    """Digits of some classes, in a data set that declares all ten."""

    METAINFO = dict(classes=tuple('0123456789'), kept_classes=KEPT)

    def load_data_list(self):
        digits = DATASETS.build(dict(DIGITS, indices=200, pipeline=[]))
        infos = [digits.get_data_info(i) for i in range(200)]
        return [info for info in infos if info['gt_label'] in KEPT]


@pytest.fixture
def ready(trained):
    """Load one of the models."""

    def load(word='standard'):
        cfg, (_, path) = (
            getattr(trained, name) for name in (f'{word}_cfg', word)
        )
        return Candidate(word, cfg, path, f'{word}.py').load('cpu')

    return load


@pytest.fixture
def of(ready):
    """Measure one of the models on a set."""

    def found(
        dataset=DIGITS,
        word='standard',
        is_ood=False,
        batch_size=16,
        **options,
    ):
        model = ready(word)
        cell = Cell('a set', dataset, is_ood=is_ood)
        batches = ImageBatches(cell, model.pipeline, batch_size)
        return measure(model, batches, 'cpu', **options)

    return found


def answers_of(ready, cell):
    """Logits of plain models, and labels."""
    batches = ImageBatches(cell, ready.pipeline)
    images = torch.cat(list(batches))
    with torch.no_grad():
        images = ready.model.data_preprocessor(dict(inputs=images))['inputs']
        return ready.model(images, mode='tensor'), batches.labels


def test_fewer_classes_alone_compete(of, ready):
    (found,) = of(FEWER, scores=('msp', 'energy'))
    logits, labels = answers_of(ready(), Cell('some', FEWER))
    kept = logits[:, list(KEPT)]
    right = torch.tensor(KEPT)[kept.argmax(1)] == labels
    assert found.figures['top1'] == pytest.approx(100 * right.float().mean())
    assert found.scores['msp'] == pytest.approx(
        (-kept.double().softmax(1).amax(1)).log1p().numpy(), rel=1e-5
    )
    assert found.scores['energy'] == pytest.approx(
        -kept.logsumexp(1).numpy(), rel=1e-5
    )


def test_classes_that_are_asked_for_override_those_of_the_set(of):
    (own,) = of(FEWER)
    (same,) = of(
        dict(FEWER, metainfo=dict(kept_classes=None)), kept_classes=KEPT
    )
    (every,) = of(FEWER, kept_classes=tuple(range(10)))
    assert own.figures == same.figures
    assert own.figures['top1'] > every.figures['top1']


def test_labels_outside_the_competing_classes_are_refused(of):
    with pytest.raises(ValueError, match='among the 4 classes .* but got'):
        of(kept_classes=KEPT)
    with pytest.raises(ValueError, match='labels from 0 to 9, but got -1'):
        of(dict(type='PhotoPatches', count=20))


def test_plain_logits_are_the_model_s(of, ready):
    expected, _ = answers_of(ready(), Cell('digits', DIGITS))
    (found,) = of(keep_answers=True)
    assert torch.allclose(found.answers, expected, atol=1e-5)


def test_a_model_stays_whole_for_other_threads_during_a_pass(ready):
    model = ready().model
    images = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    others = []

    def meanwhile(*_):
        handle.remove()
        inputs = model.data_preprocessor(dict(inputs=images))['inputs']
        with ThreadPoolExecutor(1) as thread:
            others.append(thread.submit(model.predict, inputs).result())

    handle = model.head.register_forward_hook(meanwhile)
    fields = predict_batch(model, images)
    (samples,) = others
    assert torch.equal(samples[0].pred_score, fields['pred_score'][0])


def test_batches_change_nothing_but_progress(of):
    told = []
    (one,) = of(word='anchored', scores=('energy',), report=told.append)
    assert told == [16, 16, 8]
    (other,) = of(word='anchored', scores=('energy',), batch_size=40)
    assert one.figures == pytest.approx(other.figures, rel=1e-5)
    assert one.scores['energy'] == pytest.approx(other.scores['energy'])


def test_half_precision_is_close(of):
    whole, half = of()[0].figures, of(amp=True)[0].figures
    assert half['nll'] != whole['nll']
    assert half['nll'] == pytest.approx(whole['nll'], rel=0.05)


def test_images_of_no_class_have_scores_only(of):
    photos = dict(type='PhotoPatches', count=20)
    (found,) = of(photos, is_ood=True, figures=False, scores=('msp', 'spread'))
    assert found.figures == found.reliability == {}
    assert list(found.scores) == ['msp'] and len(found.scores['msp']) == 20
    (found,) = of(
        photos, 'anchored', is_ood=True, figures=False, scores=('spread',)
    )
    assert found.scores['spread'].min() > 0


def test_bins_of_confidence_are_those_of_the_calibration_error(of):
    (found,) = of(dict(DIGITS, indices=200))
    count, confidence, right = (
        np.array(found.reliability[key])
        for key in ('count', 'confidence', 'right')
    )
    assert count.sum() == 200
    assert right.sum() / 2 == found.figures['top1']
    full = count > 0
    gap = abs(right - confidence)[full] / 200
    assert gap.sum() == pytest.approx(found.figures['ece'], rel=1e-5)
    edges = np.arange(16) / 15
    means = confidence[full] / count[full]
    assert np.all(means >= edges[:-1][full]) and np.all(
        means <= edges[1:][full]
    )


def test_another_number_of_classes(of, trained):
    dataset = dict(DIGITS, metainfo=dict(classes=list('abc')))
    with pytest.raises(ValueError, match='for the 3 classes.*got one for 10'):
        of(dataset)
    (found,) = of(dataset, is_ood=True, figures=False, scores=('msp',))
    assert len(found.scores['msp']) == 40


def test_single_references_have_the_accuracy_of_each_alone(
    of, ready, monkeypatch
):
    (whole,) = of(word='anchored', single_references=True)
    model = ready('anchored')
    references = model.model.reference_bank.images.clone()
    assert len(references) == 3
    alone = []
    for one in references:
        model.model.reference_bank.fill(one[None])
        model.model.reference_bank.use(1)
        batches = ImageBatches(Cell('a set', DIGITS), model.pipeline)
        (found,) = measure(model, batches, 'cpu', single_references=True)
        # with a single reference, its prediction is that of the model
        assert 'top1_reference_1' not in found.figures
        alone.append(found.figures['top1'])
    assert [
        whole.figures[f'top1_reference_{i}'] for i in (1, 2, 3)
    ] == pytest.approx(alone)
    assert 'top1_reference_1' not in of(word='anchored')[0].figures
    (plain,) = of(single_references=True)
    assert 'top1_reference_1' not in plain.figures


def test_single_references_of_fewer_classes(of):
    options = dict(word='anchored', single_references=True)
    (found,) = of(FEWER, **options)
    (everything,) = of(FEWER, kept_classes=tuple(range(10)), **options)
    for i in (1, 2, 3):
        name = f'top1_reference_{i}'
        assert found.figures[name] > everything.figures[name]


@pytest.fixture
def noise(tmp_path):
    """Sixty noisy RGB images, 16x16, at five severities."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 16, 16, 3)).astype(np.uint8)
    np.save(tmp_path / 'fog.npy', images)
    np.save(tmp_path / 'labels.npy', rng.integers(0, 10, 300))
    return dict(
        type='CorruptedArrays', data_root=str(tmp_path), kind='fog', severity=2
    )


def in_runner(cfg, dataset):
    cfg.test_dataloader.dataset = dict(
        dataset, pipeline=cfg.val_dataloader.dataset.pipeline
    )
    cfg.test_dataloader.batch_size = 32
    hooks = cfg.get('custom_hooks')
    left_out = set() if hooks else set(REFERENCE_METRICS)
    # spreads over different numbers of references do not compare
    if hooks and hooks[0].get('protocol') == 'adaptive':
        left_out = {'ReferenceSpread'}
    cfg.test_evaluator = [
        config for config in METRIC_CONFIGS if config['type'] not in left_out
    ]
    cfg.experiment_name += '_test'
    found = Runner.from_cfg(cfg).test()
    return {key.partition('/')[2]: value for key, value in found.items()}


def in_suite(cfg, dataset):
    ready = Candidate('model', cfg, cfg.load_from, 'config.py').load('cpu')
    batches = ImageBatches(Cell('a set', dataset), ready.pipeline, 32)
    (found,) = measure(ready, batches, 'cpu')
    return {
        key: value
        for key, value in found.figures.items()
        if value is not None and not key.endswith(('_low', '_high'))
    }


@pytest.mark.parametrize(
    'word, options',
    [
        ('standard', {}),
        ('anchored', dict(num_references=1)),
        ('anchored', dict(num_references=3)),
        ('anchored', dict(num_references=3, protocol='adaptive')),
        ('anchored', dict(num_references=3, protocol='transduction')),
    ],
)
def test_figures_are_those_of_the_runner(trained, noise, word, options):
    cfg = getattr(trained, f'{word}_cfg').copy()
    cfg.load_from = getattr(trained, word)[1]
    cfg.merge_from_dict(
        {f'custom_hooks.0.{key}': value for key, value in options.items()}
    )
    cfg.experiment_name += '_'.join(map(str, options.values()))
    for dataset in (noise, FEWER):
        found = in_suite(cfg, dataset)
        assert len(found) >= 9
        assert found == pytest.approx(in_runner(cfg, dataset), rel=1e-6)
