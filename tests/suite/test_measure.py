"""One model on one set: predictions and metrics."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image

from mmanchor.suite.candidates import Candidate
from mmanchor.suite.held_out import HeldOutFit
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


def test_files_are_measured_as_by_the_runner(small_config, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / 'files' / str(i % 10) / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(
            path
        )
    cfg = small_config(**{'train_cfg.max_epochs': 1})
    Runner.from_cfg(cfg).train()
    cfg.load_from = f'{cfg.work_dir}/epoch_1.pth'
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(16, 16)),
        dict(type='PackInputs'),
    ]
    # the pipeline reads BGR, and the model gets it
    cfg.val_dataloader.dataset.pipeline = pipeline
    dataset = dict(type='CustomDataset', data_root=str(tmp_path / 'files'))
    found = in_suite(cfg, cfg.load_from, Cell('files', dataset))
    cfg.experiment_name += '_test'
    expected = in_runner(cfg, dict(dataset, pipeline=pipeline))
    assert found['spread'] > 0
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_fewer_classes_are_measured_as_by_the_runner(trained, word):
    cfg = getattr(trained, f'{word}_cfg').copy()
    cfg.load_from = getattr(trained, word)[1]
    found = in_suite(cfg, cfg.load_from, Cell('some', FEWER))
    cfg.experiment_name += f'_{word}_test'
    pipeline = cfg.val_dataloader.dataset.pipeline
    expected = in_runner(cfg, dict(FEWER, pipeline=pipeline))
    assert found == pytest.approx(expected, rel=1e-6)


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


@pytest.mark.parametrize('word', ['standard', 'anchored'])
def test_a_temperature_divides_logits(of, ready, word):
    one, two = of(
        word=word,
        fits=(HeldOutFit(), HeldOutFit(2.0)),
        scores=('msp', 'energy'),
    )
    logits = of(word=word, keep_answers=True)[0].answers
    _, labels = answers_of(ready(), Cell('digits', DIGITS))
    softer = (logits / 2).softmax(1).double()
    nll = -softer[torch.arange(40), labels].log().mean()
    assert two.figures['nll'] == pytest.approx(nll.item(), rel=1e-5)
    assert two.scores['msp'] == pytest.approx(
        (-softer.amax(1)).log1p().numpy(), rel=1e-5
    )
    assert np.array_equal(one.scores['energy'], two.scores['energy'])
    assert one.figures['top1'] == two.figures['top1']
    assert one.figures['nll'] != two.figures['nll']
    (alone,) = of(word=word)
    assert one.figures == alone.figures


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


def test_no_image_at_all(ready):
    model = ready()
    batches = ImageBatches(Cell('digits', DIGITS), model.pipeline)
    batches.select(np.arange(0))
    with pytest.raises(ValueError, match='one image or more .* got none. Ch'):
        measure(model, batches, 'cpu')


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


PROTOCOLS = [
    None,
    dict(num_references=1),
    dict(num_references=3),
    dict(num_references=3, protocol='adaptive'),
    dict(protocol='transduction', num_references=3),
]


@pytest.fixture
def arrays(tmp_path):
    """Sixty noisy RGB images, 16x16, at five severities."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'arrays'
    folder.mkdir()
    np.save(
        folder / 'fog.npy',
        rng.integers(0, 256, (300, 16, 16, 3)).astype(np.uint8),
    )
    np.save(folder / 'labels.npy', rng.integers(0, 10, 300))
    return dict(type='CorruptedArrays', data_root=str(folder))


def in_runner(cfg, dataset, how=None):
    cfg.test_dataloader.dataset = dataset
    cfg.test_dataloader.batch_size = 32
    left_out = set() if 'custom_hooks' in cfg else set(REFERENCE_METRICS)
    # spreads over different numbers of references do not compare
    if how and how.get('protocol') == 'adaptive':
        left_out = {'ReferenceSpread'}
    cfg.test_evaluator = [
        config for config in METRIC_CONFIGS if config['type'] not in left_out
    ]
    found = Runner.from_cfg(cfg).test()
    return {key.partition('/')[2]: value for key, value in found.items()}


def in_suite(cfg, checkpoint, cell):
    ready = Candidate('model', cfg, checkpoint, 'config.py').load('cpu')
    batches = ImageBatches(cell, ready.pipeline, batch_size=32)
    (found,) = measure(ready, batches, 'cpu')
    return {
        key: value
        for key, value in found.figures.items()
        if value is not None and not key.endswith(('_low', '_high'))
    }


@pytest.mark.parametrize('how', PROTOCOLS, ids=repr)
def test_figures_are_those_of_the_runner(small_config, arrays, how):
    options = {
        f'custom_hooks.0.{key}': value for key, value in (how or {}).items()
    }
    name = '' if how is None else 'anchored-masked_'
    cfg = small_config(name, **options)
    cfg.train_cfg.max_epochs = 1
    Runner.from_cfg(cfg).train()
    cfg.load_from = checkpoint = f'{cfg.work_dir}/epoch_1.pth'
    cell = Cell('noise', dict(arrays, kind='fog', severity=2), (), 'fog', 2)
    found = in_suite(cfg, checkpoint, cell)
    cfg.experiment_name += '_test'
    expected = in_runner(
        cfg,
        dict(cell.dataset, pipeline=cfg.test_dataloader.dataset.pipeline),
        how,
    )
    assert len(found) >= 9
    assert found == pytest.approx(expected, rel=1e-6)
