"""Training steps and protocols on a GPU that is only pretended.

Where tensors of host and device meet, or where the host waits at a place that
``ALLOWED`` does not name, a test fails.
"""

import contextlib

import pytest
import torch
from helpers.builders import image_bytes, make_batch
from helpers.pretend_device import pretend_device
from helpers.small_models import BACKBONES
from mmpretrain.registry import MODELS

from mmanchor.functional import fit_temperature
from mmanchor.models import fold_reference
from mmanchor.models.folding import FoldedReferences
from mmanchor.suite.predict import predict_batch
from mmanchor.utils.transfer import copy_to_device

DEVICE = 'cuda:0'
HOST_COPIES = {
    (
        'waiting copy',
        'mmengine/model/base_model/data_preprocessor.py:cast_data',
    ): 'the host copies the images in every step, before the forward pass',
    (
        'waiting copy',
        'mmpretrain/models/utils/data_preprocessor.py:forward',
    ): 'the host copies the labels in every step, before the forward pass',
}
# kind and place of what a training step may do, and why
ALLOWED_IN_TRAINING = {
    **HOST_COPIES,
    (
        'waiting copy',
        'mmpretrain/models/utils/batch_augments/cutmix.py:mix',
    ): 'the host draws pairs to mix on the CPU',
    (
        'waiting copy',
        'mmpretrain/models/utils/batch_augments/mixup.py:mix',
    ): 'the host draws pairs to mix on the CPU',
    (
        'wait',
        'mmanchor/models/data_preprocessor.py:_next_iteration',
    ): 'once, in the first step: the count of a checkpoint is read',
    (
        'copy',
        'mmanchor/models/data_preprocessor.py:_draw_from_batch',
    ): 'which image is whose reference, before the forward pass',
    (
        'copy',
        'mmanchor/models/data_preprocessor.py:_read_references',
    ): 'references of a set lie in the memory of the host',
    (
        'copy',
        'mmanchor/functional/masking.py:_order',
    ): 'which rows are masked, before the forward pass; of masks by sample',
}
# what answering a batch may do, but for the host's copies
ALLOWED_AT_TEST = {
    (
        'wait',
        'mmanchor/models/inference/cache.py:_unchanged',
    ): 'once a batch: hooks swap weights without leaving a trace',
    (
        'wait',
        'mmanchor/models/inference/protocols.py:_answer',
    ): 'once a round of the adaptive protocol: who needs another reference',
    (
        'copy',
        'mmanchor/functional/masking.py:_order',
    ): 'which images need another reference',
    (
        'copy',
        'mmanchor/models/classifier.py:forward',
    ): 'the order of images, whose answers came round by round',
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
MIX = dict(
    augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
)


class Images(list):
    """A dataset of given images."""

    def get_data_info(self, index):
        return dict(gt_label=index % 10)


def network(name='convolution', **preprocessor):
    backbone, neck, width = NETWORKS[name]
    model = MODELS.build(
        dict(
            type='AnchoredImageClassifier',
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


TRAINING = {
    'batch norm, masked by sample': dict(mask_prob=0.5, mask_by='sample'),
    'attention, masked by sample': dict(
        name='patches', mask_prob=0.5, mask_by='sample'
    ),
    'windows, masked by sample': dict(
        name='swin v2', mask_prob=0.5, mask_by='sample'
    ),
    'masked by batch': dict(mask_prob=1.0),
    'not masked': dict(mask_prob=0.0),
    'Mixup and CutMix': dict(
        mask_prob=0.5, mask_by='sample', batch_augments=MIX
    ),
    'reference set': dict(references=dict(type='ReferenceSet')),
    'autocast': dict(mask_prob=0.5, mask_by='sample', amp=True),
    'channels last': dict(
        mask_prob=0.5, mask_by='sample', layout=torch.channels_last
    ),
}


@pytest.mark.parametrize('case', TRAINING)
def test_a_training_step_waits_for_nothing_after_its_images_are_there(case):
    settings = dict(TRAINING[case])
    name = settings.pop('name', 'convolution')
    amp = settings.pop('amp', False)
    layout = settings.pop('layout', torch.contiguous_format)
    with pretend_device() as events:
        model = network(name, **settings).train()
        if model.data_preprocessor.reference_set is not None:
            model.data_preprocessor.reference_set.load(
                Images(dict(inputs=one) for one in image_bytes(5, size=32))
            )
        model.to(DEVICE).to(memory_format=layout)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, foreach=False
        )
        events.clear()
        for seed in range(2):
            data = model.data_preprocessor(
                make_batch(8, size=32, seed=seed), training=True
            )
            before = list(events)
            with torch.autocast('cuda', torch.bfloat16, enabled=amp):
                losses = model(**data, mode='loss')
            losses['loss'].backward()
            optimizer.step()
            optimizer.zero_grad()
            assert events == before
    assert places(events) <= set(ALLOWED_IN_TRAINING)
    first_step_only = [e for e in events if e.place.endswith('_iteration')]
    assert len(first_step_only) == 1
    assert all(
        value.device.type == 'cuda'
        for value in (losses['loss'], losses['masked_share'])
    )


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
    'single': 'single',
    'mean': 'mean',
    'adaptive': 'adaptive',
    'transduction': transduction('images'),
    'transduction of features': transduction('features'),
}


@contextlib.contextmanager
def answering(protocol='mean', name='convolution', k=5):
    """A model on the pretended device that has answered once."""
    with pretend_device() as events, torch.no_grad():
        model = network(name).eval()
        model.reference_bank.fill(image_bytes(k, size=32))
        model.reference_bank.fill_residuals(
            image_bytes(6, size=32).unflatten(0, (3, 2))
        )
        model.protocol = protocol
        model.to(DEVICE)
        model.predict(**model.data_preprocessor(make_batch(8, size=32)))
        events.clear()
        yield model, events


def rounds(events):
    return sum(event.place.endswith('_answer') for event in events)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_protocol_waits_once_a_batch_or_round(name):
    with answering(PROTOCOLS[name]) as (model, events):
        model.predict(
            **model.data_preprocessor(make_batch(8, size=32, seed=1))
        )
        waits = [event for event in events if event.kind == 'wait']
        assert places(events) <= set(ALLOWED_AT_TEST) | set(HOST_COPIES)
        assert len(waits) == 1 + rounds(events)
        assert rounds(events) <= 3
        events.clear()
        images = torch.randn(4, 3, 32, 32, device=DEVICE)
        assert model(images).shape == (4, 10)
        assert places(events) <= set(ALLOWED_AT_TEST)


@pytest.mark.parametrize('name', ['convolution', 'patches', 'swin v2'])
def test_folded_models_wait_for_nothing(name):
    with answering('single', name, k=1) as (model, events):
        images = torch.randn(4, 3, 32, 32, device=DEVICE)
        folded, several = fold_reference(model), FoldedReferences(model)
        events.clear()
        assert folded(images, mode='tensor')[0].device.type == 'cuda'
        assert several(images).device.type == 'cuda'
        assert events == []


def test_a_suite_reads_a_batch_with_one_wait_and_no_waiting_copy():
    with answering() as (model, events):
        images = copy_to_device(image_bytes(8, size=32), DEVICE)
        fields = predict_batch(model, images)
        assert [e.kind for e in events] == ['copy', 'wait']
        assert all(v.device.type == 'cuda' for v in fields.values())


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
        tensor[torch.tensor([0, 1])]
    assert [event.kind for event in events] == [
        'waiting copy', 'copy', *['wait'] * 5, 'waiting copy'
    ]  # fmt: skip
    assert {event.place for event in events} == {
        'tests/models/test_devices.py:test_every_copy_and_wait_is_written_down'
    }
