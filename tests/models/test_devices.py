"""Training steps and protocols on a GPU that is only pretended.

Where tensors of host and device meet, or where the host waits at a place that
``ALLOWED`` does not name, a test fails.
"""

import contextlib
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.builders import image_bytes, make_batch
from helpers.pretend_device import pretend_device
from helpers.small_models import BACKBONES
from mmpretrain.registry import MODELS

from mmanchor.evaluation import PredictionSetMetric, fit_prediction_sets
from mmanchor.functional import VectorScaling, fit_temperature
from mmanchor.models import fold_reference
from mmanchor.models.folding import FoldedReferences
from mmanchor.suite.held_out import HeldOutFit
from mmanchor.suite.measure import measure

DEVICE = 'cuda:0'
HOST_COPIES = {
    # the host copies the images in every step, before the forward pass
    (
        'waiting copy',
        'mmengine/model/base_model/data_preprocessor.py:cast_data',
    ),
    # the host copies the labels in every step, before the forward pass
    ('waiting copy', 'mmpretrain/models/utils/data_preprocessor.py:forward'),
}
# kind and place of what a training step does
ALLOWED_IN_TRAINING = {
    *HOST_COPIES,
    # the host draws pairs to mix on the CPU
    ('waiting copy', 'mmpretrain/models/utils/batch_augments/cutmix.py:mix'),
    # the host draws pairs to mix on the CPU
    ('waiting copy', 'mmpretrain/models/utils/batch_augments/mixup.py:mix'),
    # once, in the first step: the count of a checkpoint is read
    ('wait', 'mmanchor/models/data_preprocessor.py:_next_iteration'),
    # which image is whose reference, before the forward pass
    ('copy', 'mmanchor/models/data_preprocessor.py:_draw_from_batch'),
    # references of a set lie in the memory of the host
    ('copy', 'mmanchor/models/data_preprocessor.py:_read_references'),
    # which rows are masked, before the forward pass; of masks by sample
    ('copy', 'mmanchor/functional/masking.py:_order'),
    # where partial masks leave a crop, before the forward pass
    ('copy', 'mmanchor/models/data_preprocessor.py:_draw_kept_pixels'),
    # once, when references are augmented first: the range of pixels
    ('wait', 'mmanchor/models/reference_augments.py:_range'),
}
FIRST_STEP_ONLY = ('_iteration', '_range')
# what answering a batch does, but for the host's copies
ALLOWED_AT_TEST = {
    # once a batch: hooks swap weights without leaving a trace
    ('wait', 'mmanchor/models/inference/cache.py:_unchanged'),
    # once a round of the adaptive protocol: who needs another reference
    ('wait', 'mmanchor/models/inference/protocols.py:_answer'),
    # which images need another reference
    ('copy', 'mmanchor/functional/masking.py:_order'),
    # the order of images, whose answers came round by round
    ('copy', 'mmanchor/models/classifier.py:_forward'),
    # which of more references than are kept were chosen
    ('wait', 'mmanchor/models/inference/reference_passes.py:chosen_pass'),
}
NETWORKS = {
    **BACKBONES,
    'swin v2': (
        dict(
            type='SwinTransformerV2',
            arch=dict(
                embed_dims=16,
                depths=[1, 1],
                num_heads=[1, 2],
                extra_norm_every_n_blocks=0,
            ),
            out_indices=(1,),
            img_size=32,
            window_size=[4, 4],
            drop_path_rate=0.0,  # layers that are left out at random
        ),
        'GlobalAveragePooling',
        32,
    ),
}


class Images(list):
    """A dataset of given images."""

    def get_data_info(self, index):
        return dict(gt_label=index % 10)


def network(name='convolution', anchor_at='image', **preprocessor):
    backbone, neck, width = NETWORKS[name]
    model = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            anchor_at=anchor_at,
            backbone=dict(backbone),
            neck=neck and dict(type=neck),
            head=dict(
                type='LinearClsHead' if neck else 'VisionTransformerClsHead',
                num_classes=10,
                in_channels=width,
            ),
            data_preprocessor=dict(
                mean=[120.0] * 3,
                std=[60.0] * 3,
                num_classes=10,
                seed=0,
                **preprocessor,
            ),
        )
    )
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def places(events):
    return {(event.kind, event.place) for event in events}


def mix(kind):
    return dict(augments=[dict(type=kind, alpha=0.8)])


BY_SAMPLE = dict(mask_prob=0.5, mask_by='sample')
SET = dict(type='ReferenceSet')
AUGMENTS = [dict(type='torchvision/RandomInvert', p=1.0)]
TRAINING = {
    'batch norm, masked by sample': BY_SAMPLE,
    'attention, masked by sample': dict(BY_SAMPLE, name='patches'),
    'windows, masked by sample': dict(BY_SAMPLE, name='swin v2'),
    'masked by batch': dict(mask_prob=1.0),
    'not masked': dict(mask_prob=0.0),
    'Mixup': dict(BY_SAMPLE, batch_augments=mix('Mixup')),
    'CutMix': dict(BY_SAMPLE, batch_augments=mix('CutMix')),
    'reference set': dict(references=SET),
    'autocast': dict(BY_SAMPLE, amp=True),
    'channels last': dict(BY_SAMPLE, layout=torch.channels_last),
    'partial masks by sample': dict(BY_SAMPLE, mask_keep=0.25),
    'partial masks by batch': dict(mask_prob=1.0, mask_keep=0.25),
    'augmented references': dict(BY_SAMPLE, reference_augments=AUGMENTS),
    'at a stage, masked by sample': dict(BY_SAMPLE, anchor_at='layer3'),
    'at a stage, masked by batch': dict(mask_prob=1.0, anchor_at='layer3'),
    'at a stage, reference set': dict(
        BY_SAMPLE, references=SET, anchor_at='layer3'
    ),
    'at a stage, augmented references': dict(
        BY_SAMPLE, reference_augments=AUGMENTS, anchor_at='layer3'
    ),
    'at a projection': dict(BY_SAMPLE, name='patches', anchor_at='layers.0'),
    'at the head': dict(BY_SAMPLE, references=SET, anchor_at='head'),
}


@functools.cache
def training(case):
    """Run two steps: all events, those after preprocessing, and losses."""
    settings = dict(TRAINING[case])
    amp = settings.pop('amp', False)
    layout = settings.pop('layout', torch.contiguous_format)
    with pretend_device() as events:
        model = network(**settings).train()
        if model.data_preprocessor.reference_set is not None:
            model.data_preprocessor.reference_set.load(
                Images(dict(inputs=one) for one in image_bytes(5, size=32))
            )
        model.to(DEVICE).to(memory_format=layout)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, foreach=False
        )
        events.clear()
        late = []
        for seed in range(2):
            data = model.data_preprocessor(
                make_batch(8, size=32, seed=seed), training=True
            )
            before = len(events)
            with torch.autocast('cuda', torch.bfloat16, enabled=amp):
                losses = model(**data, mode='loss')
            losses['loss'].backward()
            optimizer.step()
            optimizer.zero_grad()
            late += events[before:]
    return list(events), late, losses


@pytest.mark.parametrize('case', TRAINING)
def test_a_training_step_waits_for_nothing_after_its_images_are_there(case):
    events, late, losses = training(case)
    assert late == []
    assert places(events) <= ALLOWED_IN_TRAINING
    once = [e.place for e in events if e.place.endswith(FIRST_STEP_ONLY)]
    assert len(once) == len(set(once)) > 0
    assert all(
        value.device.type == 'cuda'
        for value in (losses['loss'], losses['masked_share'])
    )


def test_the_list_of_training_has_only_what_happens():
    found = set().union(*(places(training(case)[0]) for case in TRAINING))
    assert found == ALLOWED_IN_TRAINING


def test_a_pretended_step_is_that_of_the_cpu():
    data = dict(mask_prob=0.5, mask_by='sample')
    torch.manual_seed(0)
    on_cpu = network(**data).train()
    with pretend_device():
        torch.manual_seed(0)
        pretended = network(**data).train().to(DEVICE)
        losses = pretended(
            **pretended.data_preprocessor(make_batch(8, 32), training=True),
            mode='loss',
        )
        values = {
            name: losses[name].values_on_cpu
            for name in ('loss', 'masked_share', 'masked_entropy')
        }
    expected = on_cpu(
        **on_cpu.data_preprocessor(make_batch(8, 32), training=True),
        mode='loss',
    )
    for name, value in values.items():
        torch.testing.assert_close(value, expected[name].detach())


def transduction(space):
    return dict(
        type='transduction', num_candidates=4, num_residuals=3, space=space
    )


PROTOCOLS = {
    'single': dict(protocol='single'),
    'mean': dict(protocol='mean'),
    'mean of many': dict(protocol='mean', k=70),
    'adaptive': dict(protocol='adaptive'),
    'transduction': dict(protocol=transduction('images')),
    'transduction of features': dict(protocol=transduction('features')),
    'mean, at a stage': dict(protocol='mean', anchor_at='layer3'),
    'mean, at the head': dict(protocol='mean', anchor_at='head'),
    'adaptive, at a stage': dict(protocol='adaptive', anchor_at='layer3'),
    'transduction, at a stage': dict(
        protocol=transduction('features'), anchor_at='layer3'
    ),
    'transduction, at the head': dict(
        protocol=transduction('features'), anchor_at='head'
    ),
}


# How often a batch compares weights with those that something was computed
# from, if not once: many references are not kept, and transduction keeps
# candidates as well as features of references.
COMPARISONS = {
    'mean of many': 0,
    'transduction, at a stage': 2,
    'transduction, at the head': 2,
}


@contextlib.contextmanager
def answering(protocol='mean', name='convolution', k=5, anchor_at='image'):
    """A model on the pretended device that has answered once."""
    with pretend_device() as events, torch.no_grad():
        model = network(name, anchor_at).eval()
        model.reference_bank.fill(image_bytes(k, size=32))
        model.reference_bank.fill_residuals(
            image_bytes(6, size=32).unflatten(0, (3, 2))
        )
        model.protocol = protocol
        model.rows_per_pass = 64  # fewer passes are faster here
        model.to(DEVICE)
        model.predict(**model.data_preprocessor(make_batch(8, size=32)))
        events.clear()
        yield model, events


def rounds(events):
    return sum(event.place.endswith('_answer') for event in events)


@functools.cache
def answers(case):
    """Events of predictions, and of the logits of images on the device."""
    with answering(**PROTOCOLS[case]) as (model, events):
        model.predict(
            **model.data_preprocessor(make_batch(8, size=32, seed=1))
        )
        predicted = list(events)
        images = torch.randn(4, 3, 32, 32, device=DEVICE)
        events.clear()
        assert model(images).shape == (4, 10)
        assert len(model.extract_feat(images)[-1]) == 4
        return predicted, list(events)


@pytest.mark.parametrize('case', PROTOCOLS)
def test_a_protocol_waits_once_a_batch_or_round(case):
    predicted, called = answers(case)
    assert places(predicted) <= ALLOWED_AT_TEST | HOST_COPIES
    assert places(called) <= ALLOWED_AT_TEST
    waits = [event for event in predicted if event.kind == 'wait']
    assert len(waits) == rounds(predicted) + COMPARISONS.get(case, 1)
    assert rounds(predicted) <= 3


@functools.cache
def choosing_among_many():
    """Events of transduction among more references than are kept."""
    protocol = dict(transduction('images'), num_candidates=70)
    with answering(protocol, k=70, anchor_at='layer3') as (model, events):
        model(torch.randn(4, 3, 32, 32, device=DEVICE))
        return list(events)


def test_the_list_of_testing_has_only_what_happens():
    found = [sum(answers(case), []) for case in PROTOCOLS]
    found.append(choosing_among_many())
    assert len([e for e in found[-1] if e.kind == 'wait']) == 2
    assert set().union(*map(places, found)) == (ALLOWED_AT_TEST | HOST_COPIES)


@pytest.mark.parametrize('name', ['convolution', 'patches', 'swin v2'])
def test_folded_models_wait_for_nothing(name):
    with answering('single', name, k=1) as (model, events):
        images = torch.randn(4, 3, 32, 32, device=DEVICE)
        folded, several = fold_reference(model), FoldedReferences(model)
        events.clear()
        assert folded(images, mode='tensor')[0].device.type == 'cuda'
        assert several(images).device.type == 'cuda'
        assert events == []


class Batches:
    """The images of a suite's set, as `ImageBatches` gives them."""

    num_classes = 10
    kept_classes = None

    def __init__(self, count):
        self.count = count
        self.labels = torch.arange(8 * count) % 4

    def __len__(self):
        return len(self.labels)

    def __iter__(self):
        return iter([image_bytes(8, size=32) for _ in range(self.count)])


def fits():
    """All that a suite fits on held-out images."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(400, 10, generator=generator).softmax(1)
    sets = {
        method: PredictionSetMetric(
            fit_prediction_sets(scores, scores.argmax(1), 0.8, method)
        )
        for method in ('aps', 'raps')
    }
    vectors = VectorScaling(torch.ones(10), torch.zeros(10))
    return [HeldOutFit(one, metrics=sets) for one in (1.0, 2.0, vectors)]


SUITES = {
    'metrics and scores': dict(
        fits=3, scores=('energy', 'msp', 'entropy', 'spread', 'anchor_score')
    ),
    'some classes, and images for the page': dict(
        kept_classes=(0, 1, 2, 3), keep_images=True, single_references=True
    ),
    'scores of features, out of distribution': dict(
        figures=False,
        scores=('reverse_anchoring', 'KNN', 'ViM'),
        feature_scores=dict.fromkeys(
            ('KNN', 'ViM'), lambda features: features.sum(1)
        ),
    ),
}
SUITE_COPIES = {
    ('copy', 'mmanchor/suite/measure.py:measure'),  # images and labels
    ('wait', 'mmanchor/models/inference/cache.py:_unchanged'),
}


@pytest.mark.parametrize('case', SUITES)
def test_a_suite_waits_once_a_batch(case):
    settings = dict(SUITES[case])
    given = fits()[: settings.pop('fits', 1)]
    of_features = 'feature_scores' in settings
    found = []
    with answering() as (model, events):
        for count in (1, 2):
            measured = measure(
                SimpleNamespace(model=model),
                Batches(count),
                DEVICE,
                fits=given,
                **settings,
            )
            found.append(list(events))
            events.clear()
    assert [len(one.figures) > 0 for one in measured] == len(given) * [
        settings.get('figures', True)
    ]
    assert all(event.kind != 'waiting copy' for event in sum(found, []))
    more = list(found[1])
    for event in found[0]:
        more.remove(event)
    waits = [event for event in more if event.kind == 'wait']
    # features pass a library on the CPU, and the model once more for them
    assert len(waits) == 1 + 2 * of_features
    assert all(np.isfinite(s).all() for s in measured[0].scores.values())
    if not of_features:
        assert places(more) == SUITE_COPIES


def test_a_temperature_is_fitted_where_the_logits_are():
    with pretend_device() as events:
        logits = 5 * torch.eye(10, device=DEVICE)
        logits[0] = logits[1]
        labels = torch.arange(10, device=DEVICE)
        events.clear()
        assert fit_temperature(logits, labels) > 0
        assert {event.kind for event in events} == {'wait'}


def test_tensors_of_two_devices_must_not_meet():
    with pretend_device() as events:
        on_device = torch.ones(3, device=DEVICE)
        with pytest.raises(AssertionError, match='tensors of two devices'):
            on_device + torch.ones(3)
        assert events == []
        assert (on_device + torch.tensor(1.0)).device.type == 'cuda'


def test_every_copy_and_wait_is_written_down():
    with pretend_device() as events:
        tensor = torch.arange(3).to(DEVICE)
        torch.arange(3).pin_memory().to(DEVICE, non_blocking=True)
        tensor.tolist()
        bool(tensor.sum())
        tensor[tensor > 1]
        tensor.nonzero()
        torch.equal(tensor, tensor)
        tensor.bincount()
        tensor.unique_consecutive()
        tensor[torch.tensor([0, 1])]
        tensor.new_tensor([0, 1])
        torch.tensor([0, 1], device=DEVICE)
    assert [event.kind for event in events] == [
        'waiting copy', 'copy', *['wait'] * 7, *['waiting copy'] * 3
    ]  # fmt: skip
    assert {event.place for event in events} == {
        'tests/models/test_devices.py:test_every_copy_and_wait_is_written_down'
    }
