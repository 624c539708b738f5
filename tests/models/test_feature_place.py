"""Features are anchored anywhere in a network as images are at its start."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from helpers.builders import build_model, image_bytes, make_batch, model_config
from helpers.forked import spawn
from helpers.small_models import BACKBONES, build
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.functional import ReferredImages, anchor
from mmanchor.models import (
    FoldedImageClassifier,
    FoldedReferences,
    fold_reference,
)
from mmanchor.models.feature_place import PROJECTION
from mmanchor.models.inference import protocols

# widened layers, a projection of maps, one of tokens, and heads of both kinds
PLACES = [
    ('convolution', 'layer3'),
    ('convolution', 'layer4'),
    ('convolution', 'layer2.0'),
    ('convolution', 'head'),
    ('patches', 'layers.0'),
    ('patches', 'head'),
    ('padded patches', 'stages.0'),
    ('adaptive padding', 'layers.1'),
    ('two branches', 'stage_1'),
]
CLOSE = dict(rtol=1e-4, atol=1e-5)


def unlike_halves(name='convolution', at='layer3', k=3, **kwargs):
    """A model whose answers depend on the reference."""
    model = build(name, k=k, anchor_at=at, **kwargs)
    for layer in model.widened_layers:
        weight = model.get_submodule(layer).weight.data
        weight += weight.std() * torch.randn_like(weight)
    return model


def normalised(model):
    packed = model.reference_bank.images
    return model.data_preprocessor(dict(inputs=packed))['inputs']


@torch.no_grad()
def one_by_one(model, images):
    """Logits for each reference of the bank, sharing nothing."""
    return torch.stack(
        [
            model(ReferredImages(images, reference.expand_as(images)))
            for reference in normalised(model)
        ]
    )


def optimizer(model):
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))


def batch_of(count, seed=0):
    batch = make_batch(count, 32, seed)
    for sample in batch['data_samples']:
        sample.set_gt_label(int(sample.gt_label) % 7)
    return batch


def rows_through(module):
    """How many rows go through a module in each call."""
    rows = []
    module.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    return rows


def trunk_layer(model):
    """A layer inside of what is replaced, where its work is repeated."""
    return model.backbone.layer1[0].conv1


@torch.no_grad()
def by_hand(model, images, references, mask=None):
    """ResNet-18 anchored after its third stage, written out."""
    net = model.backbone

    def trunk(x):
        for layer in (net.conv1, net.bn1, net.relu):
            x = layer(x)
        return net.layer3(net.layer2(net.layer1(x)))

    h, h_r = trunk(images), trunk(references)
    residual = h - h_r
    if mask is not None:
        h_r = h_r * ~mask[:, None, None, None]
    x = torch.cat([h_r, residual], 1)
    block, last = net.layer4
    main = F.conv2d(x, block.conv1.weight, stride=2, padding=1)
    main = F.relu(block.norm1(main))
    main = block.norm2(block.conv2(main))
    short = F.conv2d(x, block.downsample[0].weight, stride=2)
    x = last(F.relu(main + block.downsample[1](short)))
    return model.head.fc(x.mean((2, 3)))


@pytest.mark.parametrize('k', [1, 3])
def test_answers_are_those_of_the_network_written_out(k):
    model = unlike_halves(k=k)
    assert model.stem == ['layer4.0.conv1', 'layer4.0.downsample.0']
    images = torch.randn(4, 3, 32, 32)
    references = [r.expand_as(images) for r in normalised(model)]
    expected = torch.stack([by_hand(model, images, r) for r in references])
    with torch.no_grad():
        torch.testing.assert_close(
            model.reference_logits(images), expected, **CLOSE
        )
        torch.testing.assert_close(model(images), expected.mean(0), **CLOSE)
    assert k == 1 or expected.std(0).max() > 1e-3


@pytest.mark.parametrize('name,at', PLACES)
def test_many_references_answer_as_one_by_one(name, at):
    model = unlike_halves(name, at, k=10)
    images = torch.randn(5, 3, 32, 32)
    expected = one_by_one(model, images)
    assert expected.std(0).max() > 1e-3
    # several passes, and one for all
    for k, rows in ((1, 64), (3, 1), (10, 8), (10, 64)):
        model.reference_bank.use(k)
        model.rows_per_pass = rows
        with torch.no_grad():
            found = model.reference_logits(images)
        torch.testing.assert_close(found, expected[:k], **CLOSE)


@pytest.mark.parametrize('name,at', PLACES)
def test_warm_start_from_a_plain_checkpoint_is_exact(name, at):
    model = unlike_halves(name, at)  # what it was is overwritten
    plain = plain_of(name)
    missing, unexpected = model.load_state_dict(
        plain.state_dict(), strict=False
    )
    assert not missing and not unexpected
    images, references = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        expected = plain(images)
        for inputs in (images, anchor(images, references)):
            error = (model(inputs) - expected).norm() / expected.norm()
            assert error < 1e-4


def plain_of(name):
    """The plain model with statistics and a head as after training."""
    backbone, neck, width = BACKBONES[name]
    torch.manual_seed(1)
    kind = 'LinearClsHead' if neck else 'VisionTransformerClsHead'
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(backbone),
            neck=neck and dict(type=neck),
            head=dict(type=kind, num_classes=7, in_channels=width),
        )
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    return model.eval()


RESNET = dict(type='ResNet_CIFAR', depth=18)
VIT = dict(
    type='VisionTransformer',
    arch='deit-tiny',
    img_size=64,
    out_type='avg_featmap',
)
SWIN = dict(
    type='SwinTransformerV2', arch='tiny', img_size=64, pad_small_map=True
)
CONVNEXT = dict(type='ConvNeXt', arch='atto')
EFFICIENTNET = dict(type='EfficientNet', arch='b0')
STAGES = [  # backbone, width, places
    (RESNET, 512, [f'layer{i}' for i in range(1, 5)]),
    (VIT, 192, [f'layers.{i}' for i in range(0, 12, 3)]),
    (SWIN, 768, [f'stages.{i}' for i in range(4)]),
    (CONVNEXT, 320, [*(f'stages.{i}' for i in range(4)), 'stages.3.1']),
    (EFFICIENTNET, 1280, [f'layers.{i}' for i in range(7)]),
]


@pytest.mark.parametrize(
    'backbone,width,places',
    [
        (CONVNEXT, 320, ['stages.1']),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in STAGES),
    ],
    ids=lambda one: str(one)[:40],
)
def test_warm_start_is_exact_at_every_stage(backbone, width, places):
    settings = dict(
        neck=None,
        head=dict(type='LinearClsHead', num_classes=7, in_channels=width),
    )
    if backbone['type'] not in ('ConvNeXt', 'VisionTransformer'):
        settings['neck'] = dict(type='GlobalAveragePooling')

    def build_with(kind, **more):
        config = dict(type=kind, backbone=dict(backbone), **settings, **more)
        return MODELS.build(config).eval()

    plain = build_with('ImageClassifier')
    images, references = torch.randn(2, 2, 3, 64, 64)
    errors = {}
    with torch.no_grad():
        expected = plain(images)
        for at in [*places, 'head']:
            model = build_with('AnchoredImageClassifier', anchor_at=at)
            model.load_state_dict(plain.state_dict(), strict=False)
            found = model(anchor(images, references))
            errors[at] = (found - expected).norm() / expected.norm()
    assert max(errors.values()) < 1e-4


def test_masked_rows_have_blank_features_and_the_true_residual():
    model = unlike_halves()
    images = torch.randn(4, 3, 32, 32)
    partners = torch.tensor([2, 3, 1, 0])
    mask = torch.tensor([True, False, True, False])
    expected = by_hand(model, images, images[partners], mask)
    with torch.no_grad():
        for references in (partners, images[partners]):
            found = model(ReferredImages(images, references, mask))
            torch.testing.assert_close(found, expected, **CLOSE)
        without = model(ReferredImages(images, partners))
    assert (without - expected).abs().amax(1).gt(1e-3).equal(mask)


@pytest.mark.parametrize('at', ['layer3', 'head'])
def test_images_pass_the_trunk_once_whatever_k(at):
    model = unlike_halves(at=at, k=10)
    model.rows_per_pass = 8
    trunk, after = (
        rows_through(trunk_layer(model)),
        rows_through(model.head if at == 'head' else model.backbone.layer4),
    )
    images = torch.randn(16, 3, 32, 32)
    with torch.no_grad():
        model(images)
        assert sorted(trunk) == [10, 16]  # references, and images
        trunk.clear()
        model(images)
    assert trunk == [16]  # references are known
    assert max(after) <= 16


def test_references_in_use_pass_the_trunk_again_after_a_step():
    model = unlike_halves()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        # another trunk, the same layers at the place
        model.backbone.layer1[0].conv1.weight.mul_(2)
        model.backbone.bn1.running_mean.add_(1)
        found = model(images)
        expected = one_by_one(model, images).mean(0)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert (found - before).abs().max() > 1e-3


def test_in_training_only_references_of_a_set_pass_the_trunk():
    model = unlike_halves().train()
    trunk = rows_through(trunk_layer(model))
    model.train_step(batch_of(6), optimizer(model))
    assert trunk == [6]
    assert model.place.referred is None
    images, references = torch.randn(2, 6, 3, 32, 32)
    samples = batch_of(6)['data_samples']
    model(ReferredImages(images, references), samples, mode='loss')
    assert trunk == [6, 12]


@pytest.fixture
def one_process():
    dist.init_process_group(
        'gloo', store=dist.HashStore(), rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures('one_process')
def test_references_of_a_step_are_forgotten_by_evaluation():
    model = unlike_halves().train()
    # its `train_step` is another than the model's
    wrapped = MMDistributedDataParallel(model)
    wrapped.train_step(batch_of(6), optimizer(model))
    wrapped.eval()
    with pytest.raises(ValueError, match='rather than its backbone'):
        model.backbone(torch.randn(6, 3, 32, 32))


def share_of_rank(rank, count=2):
    """A part of a batch, with references within it and some masked."""
    generator = torch.Generator().manual_seed(rank)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    mask = torch.tensor([False, True])
    return ReferredImages(images, torch.tensor([1, 0]), mask)


def gradients_on_rank(rank, at, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = unlike_halves('patches', at).train()
    wrapped = MMDistributedDataParallel(model)
    losses = wrapped(share_of_rank(rank), samples_of_rank(), mode='loss')
    losses['loss'].backward()
    found = [parameter.grad for parameter in model.parameters()]
    torch.save(found, f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


def samples_of_rank():
    samples = batch_of(2)['data_samples']
    for sample, masked in zip(samples, (False, True)):
        sample.set_field(masked, 'reference_masked', dtype=bool)
    return samples


@pytest.mark.slow
@pytest.mark.parametrize('at', ['layers.0', 'head'])
def test_ranks_share_the_mean_of_their_gradients(at, tmp_path):
    spawn(gradients_on_rank, (at, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1)]
    torch.testing.assert_close(*found)
    torch.manual_seed(0)
    model = unlike_halves('patches', at).train()
    for rank in (0, 1):
        losses = model(share_of_rank(rank), samples_of_rank(), mode='loss')
        (losses['loss'] / 2).backward()  # added up over both
    expected = [parameter.grad for parameter in model.parameters()]
    assert all(one.abs().max() > 0 for one in expected)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('at', ['layers.0', 'head'])
def test_references_of_the_batch_train_as_the_same_images_given(at):
    """Without BatchNorm, which sees other rows then."""
    model = unlike_halves('patches', at).train()
    images = torch.randn(5, 3, 32, 32)
    partners = torch.tensor([1, 2, 3, 4, 0])
    mask = torch.tensor([False, True, False, False, True])
    samples = batch_of(5)['data_samples']
    for sample, masked in zip(samples, mask.tolist()):
        sample.set_field(masked, 'reference_masked', dtype=bool)
    found = []
    for references in (partners, images[partners]):
        model.zero_grad()
        inputs = ReferredImages(images, references, mask)
        loss = model(inputs, samples, mode='loss')['loss']
        loss.backward()
        found.append([loss, *[p.grad for p in model.parameters()]])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
    assert all(gradient.abs().max() > 1e-3 for gradient in found[0][1:])


@pytest.mark.parametrize('given', [False, True])
def test_augmented_references_give_features_of_their_own(given):
    model = unlike_halves()
    images, references, augmented = torch.randn(3, 4, 3, 32, 32)
    partners = torch.tensor([2, 3, 1, 0])
    with torch.no_grad():
        # halves of the layers read the augmented reference, and the residual
        # to the reference as it was
        found = model(
            ReferredImages(
                images, references if given else partners, None, augmented
            )
        )
        maps = {}
        model.backbone.layer3.register_forward_hook(
            lambda _, __, output: maps.update(h=output)
        )
        model(ReferredImages(images, partners, None, augmented))
    assert len(maps['h']) == 8  # no reference of the batch runs twice
    if not given:
        references = images[partners]
    expected = model(ReferredImages(images, references, None, references))
    plain = model(ReferredImages(images, references))
    torch.testing.assert_close(expected, plain, **CLOSE)
    assert (found - plain).abs().max() > 1e-3


def test_a_model_that_anchors_features_trains_on_augmented_references():
    invert = dict(type='torchvision/RandomInvert', p=1.0)
    model = build_model(
        anchor_at='layer3',
        preprocessor=dict(mask_prob=0, reference_augments=[invert], seed=0),
    ).train()
    trunk = rows_through(trunk_layer(model))
    model.train_step(batch_of(6), optimizer(model))
    assert trunk == [12]


def test_partial_masks_are_of_pixels():
    with pytest.raises(
        ValueError, match=r"`mask_keep=0` with `anchor_at='layer3'`.*got 0.5"
    ):
        build_model(anchor_at='layer3', preprocessor=dict(mask_keep=0.5))


def test_draws_are_those_of_a_model_that_anchors_images():
    batches = [
        build('convolution', **kwargs).data_preprocessor
        for kwargs in ({}, dict(anchor_at='layer3'))
    ]
    for preprocessor in batches:
        preprocessor.seed, preprocessor.mask_prob = 3, 0.5
    for step in range(4):
        anchored, referred = (
            preprocessor(batch_of(6, step), training=True)['inputs']
            for preprocessor in batches
        )
        expected = ReferredImages(
            referred.images, referred.references, referred.mask
        ).anchor(referred.images)
        assert torch.equal(anchored, expected)


def test_activation_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    model = unlike_halves().train()
    inputs = ReferredImages(
        torch.randn(4, 3, 32, 32), torch.tensor([1, 2, 3, 0])
    )
    found = []
    for recompute in (False, True):
        for block in model.backbone.layer4:
            block.with_cp = recompute
        model.zero_grad()
        losses = model(inputs, batch_of(4)['data_samples'], mode='loss')
        losses['loss'].backward()
        found.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('at', ['layer3', 'layer4', 'head'])
def test_protocols_answer_as_from_all_logits(at, monkeypatch):
    # every third of the images left, whatever their logits
    monkeypatch.setattr(
        protocols,
        'settled',
        lambda logits, *_: torch.arange(logits.size(1)) % 3 == 0,
    )
    model = unlike_halves(at=at, k=6)
    images = torch.randn(7, 3, 32, 32)
    expected = one_by_one(model, images)
    trunk = rows_through(trunk_layer(model))
    with torch.no_grad():
        model.protocol = 'single'
        torch.testing.assert_close(model(images), expected[0], **CLOSE)
        model.protocol = 'adaptive'
        trunk.clear()
        groups = model.answers(images)
        assert trunk == [7]
        assert [len(rows) for rows, _ in groups] == [3, 2, 1, 1]
        for rows, logits in groups:
            torch.testing.assert_close(
                logits, expected[: len(logits), rows], **CLOSE
            )
        model.reference_bank.fill_residuals(
            image_bytes(6, size=32, seed=4).unflatten(0, (3, 2))
        )
        model.protocol = dict(
            type='transduction', num_candidates=5, num_residuals=3
        )
        chosen = model.protocol.choose(model, images).index
        trunk.clear()
        found = model(images)
    assert trunk == [7]
    torch.testing.assert_close(
        found, expected[chosen, torch.arange(7)], **CLOSE
    )


@pytest.mark.parametrize('at', ['layer3', 'layer4', 'head'])
def test_transduction_in_the_space_of_features(at):
    model = unlike_halves(at=at, k=4)
    model.reference_bank.fill_residuals(
        image_bytes(4, size=32, seed=4).unflatten(0, (2, 2))
    )
    model.protocol = dict(
        type='transduction',
        num_candidates=4,
        num_residuals=2,
        space='features',
    )
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        chosen = model.protocol.choose(model, images)
        torch.testing.assert_close(
            model(images),
            model(ReferredImages(images, chosen.references)),
            **CLOSE,
        )
        assert model.extract_feat(images)[-1].shape == (3, 64)


HEADS = {
    'linear': dict(type='LinearClsHead'),
    'with a hidden layer': dict(
        type='StackedLinearClsHead', mid_channels=[16]
    ),
    # a norm reads the place, so that a projection is added before it
    'with a projection': dict(type='LeViTClsHead', distillation=False),
}
STAGES_OF_FEATURES = ['backbone', 'neck', 'pre_logits']
CASES_OF_FEATURES = [
    ('layer3', 'linear'),
    ('layer4', 'linear'),
    *[('head', head) for head in HEADS],
]


def with_head(at, head):
    torch.manual_seed(0)
    config = model_config(anchor_at=at)
    config['head'].update(HEADS[head], num_classes=7)
    model = MODELS.build(config).eval()
    for layer in model.widened_layers:
        nn.init.normal_(model.get_submodule(layer).weight, 0, 0.2)
    model.reference_bank.fill(image_bytes(3, size=32))
    return model


@torch.no_grad()
@pytest.mark.parametrize('stage', STAGES_OF_FEATURES)
@pytest.mark.parametrize('at,head', CASES_OF_FEATURES)
def test_features_are_averaged_over_references(at, head, stage):
    model = with_head(at, head)
    images = torch.randn(4, 3, 32, 32)
    found = model.extract_feat(images, stage)
    single = [
        model.extract_feat(anchor(images, r.expand_as(images)), stage)
        for r in normalised(model)
    ]
    last = (lambda x: x) if stage == 'pre_logits' else (lambda x: x[-1])
    assert len(last(found)) == 4
    torch.testing.assert_close(
        last(found), torch.stack([last(x) for x in single]).mean(0), **CLOSE
    )


@torch.no_grad()
@pytest.mark.parametrize('at', ['layer3', 'head'])
def test_a_trace_averages_features_as_a_call_does(at, monkeypatch):
    model = with_head(at, 'with a hidden layer')
    images = torch.randn(4, 3, 32, 32)
    expected = model.extract_feat(images, 'pre_logits')
    monkeypatch.setattr(torch.jit, 'is_tracing', lambda: True)
    found = model.extract_feat(images, 'pre_logits')
    torch.testing.assert_close(found, expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize('at,head', CASES_OF_FEATURES)
def test_features_of_all_stages_lead_to_the_answer(at, head):
    model = with_head(at, head)
    images, references = torch.randn(2, 4, 3, 32, 32)
    inputs = ReferredImages(images, references)
    expected = model(inputs)
    assert expected.shape == (4, 7)
    torch.testing.assert_close(model(anchor(images, references)), expected)
    before = model.extract_feat(inputs, 'pre_logits')
    assert len(before) == 4
    if at != 'head':
        torch.testing.assert_close(model.head.fc(before), expected)


@pytest.mark.parametrize('name,at', PLACES)
def test_a_folded_model_answers_as_with_its_reference(name, at):
    model = unlike_halves(name, at)
    images = torch.randn(2, 3, 32, 32)
    expected = one_by_one(model, images)
    with torch.no_grad():
        for per_pass in (None, 2):
            torch.testing.assert_close(
                FoldedReferences(model, per_pass)(images),
                expected.mean(0),
                **CLOSE,
            )
        model.reference_bank.use(1)
        folded = fold_reference(model)
        torch.testing.assert_close(folded(images), expected[0], **CLOSE)
        rebuilt = FoldedImageClassifier(
            backbone=copy.deepcopy(BACKBONES[name][0]),
            neck=folded.neck,
            head=dict(
                type=type(folded.head).__name__,
                num_classes=7,
                in_channels=BACKBONES[name][2],
            ),
            image_shape=(3, 32, 32),
            stem=model.stem,
            place=model.place.settings(),
        ).eval()
        missing, unexpected = rebuilt.load_state_dict(folded.state_dict())
        torch.testing.assert_close(rebuilt(images), expected[0], **CLOSE)


def test_state_dict_keys_are_the_host_s_and_a_projection_where_needed():
    plain = set(plain_of('convolution').state_dict())
    ours = {
        'reference_bank.images',
        'reference_bank.anchor_at',
        'data_preprocessor.iteration',
    }
    assert set(unlike_halves().state_dict()) - plain == ours
    assert set(unlike_halves(at='layer4').state_dict()) - plain == {
        *ours,
        f'backbone.{PROJECTION}.weight',
    }


@pytest.mark.parametrize('name,at', [('convolution', 'layer3'), PLACES[6]])
def test_a_checkpoint_comes_back_as_it_was(name, at):
    model, other = unlike_halves(name, at), unlike_halves(name, at)
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for copied in (other, *copies):
            torch.testing.assert_close(copied(images), expected)


@pytest.mark.parametrize(
    'saved,loaded,bank',
    [
        ('layer3', 'layer2', True),
        ('layer3', 'image', False),
        ('image', 'head', False),
        ('image', 'head', True),
    ],
)
def test_a_checkpoint_that_anchors_elsewhere_is_refused(saved, loaded, bank):
    weights = build('convolution', anchor_at=saved).state_dict()
    if not bank:
        weights.pop('reference_bank.images')
    model = build('convolution', anchor_at=loaded)
    with pytest.raises(
        ValueError, match=f"anchor_at='{loaded}'.*anchors at '{saved}'"
    ):
        model.load_state_dict(weights, strict=False)


@pytest.mark.parametrize(
    'at,reason',
    [
        ('layer33', "no module 'layer33'. Did you mean 'layer3"),
        ('layer3.0.conv1', 'bypasses it: it is inside a residual branch'),
        ('layer3.0.downsample', 'bypasses it'),
        ('layer5', 'Places are: conv1, bn1, relu, layer1, layer1.0'),
        ('heads', "no module 'heads'. Did you mean 'head'"),
    ],
)
def test_other_places_are_refused_with_those_that_can(at, reason):
    with pytest.raises(ValueError, match=reason):
        build('convolution', anchor_at=at)


def build_timm(anchor_at, name='resnet10t', width=512, **backbone):
    backbone = dict(type='TIMMBackbone', model_name=name, **backbone)
    return MODELS.build(
        dict(
            type='AnchoredImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=7, in_channels=width),
            anchor_at=anchor_at,
        )
    ).eval()


VIT_OF_TIMM = dict(
    name='test_vit',
    width=64,
    img_size=32,
    features_only=True,
    out_indices=(-1,),
)


@torch.no_grad()
@pytest.mark.parametrize(
    'at,network',
    [
        ('timm_model.layer3', {}),
        ('timm_model.layer3', dict(features_only=True, out_indices=(-1,))),
        ('head', {}),
        ('head', VIT_OF_TIMM),
    ],
)
def test_networks_of_timm_anchor_features(at, network):
    model = build_timm(at, **network)
    for layer in model.widened_layers:
        nn.init.normal_(model.get_submodule(layer).weight, 0, 0.2)
    model.reference_bank.fill(torch.randn(3, 3, 32, 32))
    images = torch.randn(2, 3, 32, 32)
    expected = one_by_one(model, images)
    assert expected.std(0).max() > 1e-3
    torch.testing.assert_close(
        model.reference_logits(images), expected, **CLOSE
    )


@pytest.mark.parametrize(
    'at,network,words',
    [
        ('layer3', {}, "no module 'layer3'. Did you mean 'timm_model.layer3'"),
        (
            'timm_model.model.blocks.0',
            VIT_OF_TIMM,
            "another number of rows.*Places are: .*; `anchor_at='head'` anch",
        ),
    ],
)
def test_what_is_no_place_in_networks_of_timm(at, network, words):
    with pytest.raises(ValueError, match=words):
        build_timm(at, **network)


def test_a_backbone_that_returns_earlier_features_is_refused():
    backbone = dict(BACKBONES['convolution'][0], out_indices=(1, 3))
    config = dict(type='AnchoredImageClassifier', backbone=backbone)
    with pytest.raises(ValueError, match='out_indices'):
        MODELS.build(dict(config, anchor_at='layer3'))


def test_bad_arguments():
    for two in (['layer2', 'layer3'], ('layer2',), None):
        with pytest.raises(TypeError, match='Name one place'):
            build('convolution', anchor_at=two)
    with pytest.raises(ValueError, match='no `stem` with `anchor_at='):
        build('convolution', anchor_at='layer3', stem=['conv1'])
    backbone = dict(BACKBONES['convolution'][0])
    config = dict(type='AnchoredImageClassifier', backbone=backbone)
    with pytest.raises(ValueError, match='with a `head` for'):
        MODELS.build(dict(config, anchor_at='head'))
    model = unlike_halves()
    with pytest.raises(ValueError, match='rather than its backbone'):
        model.backbone(torch.randn(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r'\(3, 16, 16\), but got \(3, 32, '):
        model(torch.randn(2, 3, 16, 16))


def test_threads_answer_as_one_thread_does():
    model = unlike_halves(k=4)
    batches = [torch.randn(1 + i, 3, 32, 32) for i in range(4)]
    inputs = [*batches, anchor(batches[3], batches[3].flip(0))]
    with torch.no_grad():
        expected = [model(one) for one in inputs]
    model.kept_maps.__init__()

    def answer(one):
        with torch.no_grad():
            return [model(one) for _ in range(3)]

    with ThreadPoolExecutor(len(inputs)) as pool:
        for found, one in zip(pool.map(answer, inputs), expected):
            for repeated in found:
                torch.testing.assert_close(repeated, one, **CLOSE)
    conv = model.backbone.layer4[0].conv1
    assert type(conv.__dict__['forward']).__name__ == '_AnchoringForward'


def test_half_precision_trains_and_predicts():
    model = unlike_halves()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)
    with torch.autocast('cpu', torch.bfloat16):
        with torch.no_grad():
            found = model(images)
        model.train()
        data = model.data_preprocessor(batch_of(4), training=True)
        loss = model(**data, mode='loss')['loss']
    assert (found - expected).norm() < 0.05 * expected.norm()
    loss.backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_masked_batches_leave_running_statistics_alone():
    model = unlike_halves().train()
    model.data_preprocessor.mask_prob = 1.0
    before = {k: v.clone() for k, v in model.named_buffers() if 'running' in k}
    logged = model.train_step(batch_of(4), optimizer(model))
    assert logged['masked_share'] == 1
    assert before
    buffers = dict(model.named_buffers())
    assert all(torch.equal(buffers[k], v) for k, v in before.items())


@pytest.mark.parametrize('at', ['layer3', 'head'])
def test_while_statistics_move_images_have_one_reference_each(at):
    model = unlike_halves(at=at).train()
    images = torch.randn(6, 3, 32, 32)
    trunk = rows_through(trunk_layer(model))
    torch.manual_seed(3)
    answered = model(images)
    assert trunk == [12]  # every image and its reference, in one pass
    torch.manual_seed(3)
    references = normalised(model)[torch.randperm(6) % 3]
    expected = model(ReferredImages(images, references))
    torch.testing.assert_close(answered, expected, **CLOSE)


def test_more_references_than_are_kept_pass_images_once_as_well():
    model = unlike_halves(k=70)
    images = torch.randn(3, 3, 32, 32)
    expected = one_by_one(model, images)
    trunk = rows_through(trunk_layer(model))
    with torch.no_grad():
        found = model.reference_logits(images)
    assert sorted(trunk) == [3, 6, 32, 32]
    torch.testing.assert_close(found, expected, **CLOSE)
