import copy

import pytest
import torch
from helpers.builders import build_model, image_bytes, make_batch, model_config
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.functional import anchor
from mmanchor.models import masked_norm_stats


def with_bank(model, k=3, size=16):
    model.reference_bank.fill(image_bytes(k, size, seed=5))
    return model.eval()


def plain_model(**kwargs):
    model = build_model(type='ImageClassifier', **kwargs)
    for module in model.modules():  # statistics as after training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def optimizer(model):
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))


def moved_by(model, act):
    """Which running statistics a function changes, and all of them."""

    def statistics():
        return {
            key: value.clone()
            for key, value in model.state_dict().items()
            if 'running' in key or 'num_batches' in key
        }

    before = statistics()
    act()
    after = statistics()
    assert before
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    return moved, set(before)


def step(model):
    """Which running statistics a training step changes, and all of them."""
    return moved_by(
        model, lambda: model.train_step(make_batch(8), optimizer(model))
    )


def test_exact_warm_start_from_a_plain_checkpoint():
    plain, model = plain_model(), build_model()
    assert not model.load_state_dict(plain.state_dict(), strict=True)[0]
    images = torch.randn(4, 3, 16, 16)
    expected = plain(images)
    with_bank(model)
    for output in (model(images), *model.reference_logits(images)):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'wrapped',
    [
        lambda weights: weights,
        lambda weights: dict(state_dict=weights, meta={}),
        lambda weights: {f'module.{k}': v for k, v in weights.items()},
        lambda weights: dict(
            state_dict={f'module.{k}': v for k, v in weights.items()}
        ),
    ],
    ids=['bare', 'state_dict', 'module', 'both'],
)
def test_exact_warm_start_however_the_file_wraps_weights(wrapped, tmp_path):
    plain, model = plain_model(), build_model()
    torch.save(wrapped(plain.state_dict()), tmp_path / 'plain.pth')
    load_checkpoint(model, str(tmp_path / 'plain.pth'))
    images, references = torch.randn(2, 4, 3, 16, 16)
    torch.testing.assert_close(
        model.eval()(anchor(images, references)),
        plain(images),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_bank_is_saved_but_no_hook_averages_it():
    model = with_bank(build_model())
    assert 'reference_bank.images' in model.state_dict()
    assert 'reference_bank.images' not in dict(model.named_buffers())
    assert copy.deepcopy(model).reference_bank.images.equal(
        model.reference_bank.images
    )


def test_state_dict_keys_are_the_host_s_and_two_more():
    keys = set(build_model().state_dict())
    assert keys - set(plain_model().state_dict()) == {
        'reference_bank.images',
        'data_preprocessor.iteration',
    }
    assert keys >= set(plain_model().state_dict())


def test_mask_prob_zero_is_the_host_on_the_same_batch():
    model = build_model(preprocessor=dict(mask_prob=0, seed=0)).train()
    host = build_model(type='ImageClassifier').train()
    host.backbone.conv1 = copy.deepcopy(model.backbone.conv1)
    host.load_state_dict(model.state_dict(), strict=False)
    batch = model.data_preprocessor(make_batch(8), training=True)
    ours = model(batch['inputs'], batch['data_samples'], mode='loss')['loss']
    theirs = host(batch['inputs'], batch['data_samples'], mode='loss')['loss']
    assert abs(ours - theirs) < 1e-6
    ours.backward(), theirs.backward()
    for a, b in zip(model.parameters(), host.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-6)


def test_k_references_are_the_mean_of_single_ones():
    model = with_bank(build_model(), k=5)
    images = torch.randn(4, 3, 16, 16)
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.images)
    )['inputs']
    single = torch.stack(
        [model(anchor(images, r.expand_as(images))) for r in references]
    )
    for rows_per_pass in (1, 8, 64):  # one, two and all five at a time
        model.rows_per_pass = rows_per_pass
        torch.testing.assert_close(model.reference_logits(images), single)
        torch.testing.assert_close(model(images), single.mean(0))
    sample = model.predict(images)[1]
    torch.testing.assert_close(sample.pred_logits, single[:, 1].mean(0))
    torch.testing.assert_close(
        sample.pred_std, single[:, 1].std(0, correction=0)
    )
    model.reference_bank.use(1)
    torch.testing.assert_close(model(images), single[0])


def test_memory_does_not_grow_with_k():
    model = with_bank(build_model(), k=9)
    rows = []
    model.backbone.layer1.register_forward_pre_hook(
        lambda _, inputs: rows.append(len(inputs[0]))
    )
    model.rows_per_pass = 8
    model(torch.randn(4, 3, 16, 16))
    assert rows == [8, 8, 8, 8, 4]
    rows.clear()
    model(torch.randn(16, 3, 16, 16))
    assert max(rows) <= 16 and sum(rows) == 16 * 9
    rows.clear()
    model.reference_bank.use(1)
    model(torch.randn(16, 3, 16, 16))
    assert rows == [16]


def test_equal_references_have_no_spread():
    model = build_model().eval()
    model.reference_bank.fill(image_bytes(1).repeat(4, 1, 1, 1))
    images = torch.randn(3, 3, 16, 16)
    assert model.predict(images)[0].pred_std.max() < 1e-5
    model.reference_bank.fill(image_bytes(4))
    assert model.predict(images)[0].pred_std.max() > 1e-3


def test_average_of_probabilities_is_an_option():
    model = with_bank(build_model(average='probabilities'))
    images = torch.randn(2, 3, 16, 16)
    mean = model.reference_logits(images).softmax(-1).mean(0)
    torch.testing.assert_close(model(images).softmax(-1), mean)
    torch.testing.assert_close(model.predict(images)[0].pred_score, mean[0])


def test_anchored_inputs_are_taken_as_they_are():
    model = build_model().eval()  # no bank needed
    anchored = torch.randn(2, 6, 16, 16)
    assert torch.equal(model(anchored), model.reference_logits(anchored)[0])
    assert model.predict(anchored)[0].pred_std.max() == 0


@pytest.mark.parametrize('stage', ['backbone', 'neck', 'pre_logits'])
def test_features_of_plain_images_are_averaged(stage):
    model = with_bank(build_model(), k=3)
    images = torch.randn(2, 3, 16, 16)
    references = model.data_preprocessor(
        dict(inputs=model.reference_bank.images)
    )['inputs']
    single = [
        model.extract_feat(anchor(images, r.expand_as(images)), stage)
        for r in references
    ]
    model.rows_per_pass = 4  # two references at a time, then one
    found = model.extract_feat(images, stage)
    assert type(found) is type(single[0])
    last = (lambda x: x) if stage == 'pre_logits' else (lambda x: x[-1])
    torch.testing.assert_close(
        last(found), torch.stack([last(x) for x in single]).mean(0)
    )


def test_an_image_does_not_disturb_the_others():
    model = with_bank(build_model())
    images = torch.randn(3, 3, 16, 16)
    clean = model(images)
    images[1, 0, 0, 0] = float('nan')
    spoilt = model(images)
    assert spoilt[1].isnan().all()
    torch.testing.assert_close(spoilt[[0, 2]], clean[[0, 2]])


@pytest.fixture
def sync_bn_on_cpu(monkeypatch):
    """SyncBN refuses to train on a CPU; its bookkeeping is what counts."""
    monkeypatch.setattr(nn.SyncBatchNorm, 'forward', nn.BatchNorm2d.forward)
    monkeypatch.setattr(nn.SyncBatchNorm, '_check_input_dim', lambda *_: None)


@pytest.mark.usefixtures('sync_bn_on_cpu')
@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
@pytest.mark.parametrize('policy', ['skip', 'update'])
def test_running_statistics_and_masked_batches(policy, norm):
    config = model_config(
        preprocessor=dict(mask_prob=1, seed=0), masked_norm_stats=policy
    )
    config['backbone']['norm_cfg'] = dict(type=norm)
    model = MODELS.build(config).train()
    moved, statistics = step(model)
    assert moved == (set() if policy == 'skip' else statistics)
    # an unmasked batch moves them all, also right after a masked one
    model.data_preprocessor.mask_prob = 0.0
    assert step(model) == (statistics, statistics)


def test_masked_batches_are_normalised_with_their_own_statistics():
    kwargs = dict(preprocessor=dict(mask_prob=1, seed=0))
    losses = []
    for policy in ('skip', 'update'):
        torch.manual_seed(0)
        model = build_model(**kwargs, masked_norm_stats=policy).train()
        losses.append(model.train_step(make_batch(8), optimizer(model)))
    assert losses[0]['loss'] == losses[1]['loss']


def test_recomputed_activations_skip_too():
    config = model_config(preprocessor=dict(mask_prob=1, seed=0))
    config['backbone']['with_cp'] = True
    assert not step(MODELS.build(config).train())[0]


@pytest.mark.parametrize('call', ['extract_feat', 'forward'])
@pytest.mark.parametrize('then', ['step', 'train', 'nothing'])
def test_passes_after_a_masked_step_move_running_statistics(then, call):
    model = build_model(preprocessor=dict(mask_prob=1, seed=0)).train()
    if then == 'step':
        model.train_step(make_batch(8), optimizer(model))
    else:
        data = model.data_preprocessor(make_batch(8), training=True)
        model(**data, mode='loss')
    if then == 'train':
        model.train()
    inputs = torch.randn(8, 6, 16, 16)
    moved, statistics = moved_by(model, lambda: getattr(model, call)(inputs))
    assert moved == statistics


class SyncBatchNorm(nn.Module):
    """Stands where mmcv's layer would, which counts whatever it tracks."""

    def __init__(self, channels):
        super().__init__()
        self.momentum, self.track_running_stats = 0.1, True
        self.register_buffer('running_mean', torch.zeros(channels))

    def forward(self, x):
        self.running_mean += self.momentum * (
            x.detach().mean((0, 2, 3)) - self.running_mean
        )
        return x


@pytest.mark.parametrize(
    'layer',
    [
        lambda: nn.InstanceNorm2d(8, track_running_stats=True),
        lambda: SyncBatchNorm(8),
    ],
    ids=['InstanceNorm', 'of mmcv'],
)
def test_running_statistics_of_other_layers_skip_masked_batches_too(layer):
    model = build_model(preprocessor=dict(mask_prob=1, seed=0))
    model.backbone.bn1 = norm = layer()
    model.train()
    model.train_step(make_batch(8), optimizer(model))
    assert not norm.running_mean.any()
    model.data_preprocessor.mask_prob = 0.0
    model.train_step(make_batch(8), optimizer(model))
    assert norm.running_mean.all()


def test_a_loss_that_is_called_directly_skips_masked_batches_too():
    model = build_model(preprocessor=dict(mask_prob=1, seed=0)).train()
    data = model.data_preprocessor(make_batch(8), training=True)
    assert not moved_by(model, lambda: model.loss(**data))[0]


@pytest.mark.usefixtures('sync_bn_on_cpu')
@pytest.mark.parametrize('others_masked', [True, False])
@pytest.mark.parametrize(
    'masks', [dict(mask_by='sample'), dict(mask_coin='rank')], ids=str
)
def test_ranks_decide_together_on_synchronised_statistics(
    masks, others_masked, monkeypatch
):
    """Another rank's rows are masked too, or not."""
    monkeypatch.setattr(masked_norm_stats, 'get_world_size', lambda: 2)

    def reduce(flag, op):
        assert op == 'min' and flag.item() == 1
        flag.fill_(int(others_masked))

    monkeypatch.setattr(masked_norm_stats, 'all_reduce', reduce)
    config = model_config(preprocessor=dict(mask_prob=1, seed=0, **masks))
    config['backbone']['norm_cfg'] = dict(type='SyncBN')
    moved, statistics = step(MODELS.build(config).train())
    assert moved == (set() if others_masked else statistics)


def test_mixed_batches_move_running_statistics():
    masks = dict(mask_prob=0.5, mask_by='sample', seed=0)
    model = build_model(preprocessor=masks).train()
    moved, statistics = step(model)
    assert moved == statistics
    logged = model.train_step(make_batch(8), optimizer(model))
    assert 0 < logged['masked_share'] < 1


def test_a_backbone_module_keeps_its_weights():
    plain = plain_model()
    weight = plain.backbone.conv1.weight.clone()
    config = model_config()
    config['backbone'] = plain.backbone
    model = MODELS.build(config)
    assert torch.equal(model.backbone.conv1.weight[:, 3:], weight)


def test_a_backbone_built_for_2c_channels():
    config = model_config(stem=[], image_channels=3)
    config['backbone']['in_channels'] = 6
    model = with_bank(MODELS.build(config))
    assert model.backbone.conv1.in_channels == 6
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    for wrong in (dict(stem=[]), dict(image_channels=3)):
        with pytest.raises(ValueError, match='Set both or neither'):
            build_model(**wrong)


def test_half_precision_is_averaged_in_full():
    model = with_bank(build_model()).bfloat16()
    images = torch.randn(2, 3, 16, 16).bfloat16()
    assert model.reference_logits(images).dtype == torch.float32
    assert model.reference_bank.images.dtype == torch.uint8


def test_grey_images():
    config = model_config()
    config['backbone']['in_channels'] = 1
    config['data_preprocessor'].update(mean=[127.5], std=[64.0])
    model = MODELS.build(config)
    assert model.image_channels == 1
    model.reference_bank.fill(image_bytes(2, channels=1))
    batch = make_batch(4, inputs=image_bytes(4, channels=1))
    model.train_step(copy.deepcopy(batch), optimizer(model))
    assert len(model.eval().test_step(batch)) == 4


def test_preprocessor_type_defaults_to_the_anchoring_one():
    assert build_model().data_preprocessor.mask_prob == 0.25


def test_bad_arguments():
    with pytest.raises(
        TypeError,
        match='AnchoringDataPreprocessor, but got ClsDataPreprocessor',
    ):
        build_model(preprocessor=dict(type='ClsDataPreprocessor'))
    with pytest.raises(ValueError, match="'skip' or 'update', but got 'no'"):
        build_model(masked_norm_stats='no')
    with pytest.raises(
        ValueError, match="'probabilities' or 'calibrated', but got 'v"
    ):
        build_model(average='votes')
    with pytest.raises(ValueError, match='positive integer, but got 0'):
        build_model(rows_per_pass=0)
    with pytest.raises(TypeError, match='mask_norm_stats'):
        build_model(mask_norm_stats='skip')
    with pytest.raises(ValueError, match='`stem` to name convolutions'):
        build_model(stem=['stem'])


def test_bad_inputs():
    model = build_model().eval()
    with pytest.raises(ValueError, match='3 channels, or anch.* 6, but got 4'):
        model(torch.randn(2, 4, 16, 16))
    with pytest.raises(ValueError, match='no reference bank'):
        model(torch.randn(2, 3, 16, 16))
    with_bank(model)
    with pytest.raises(ValueError, match=r'\(3, 32, 32\), but got \(3, 16, '):
        model(torch.randn(2, 3, 32, 32))


def test_classifiers_of_other_libraries_get_the_config_that_works():
    theirs = dict(model_name='resnet18', pretrained=True, loss={})
    with pytest.raises(
        TypeError,
        match="got `model_name='resnet18'`.*_delete_=True, .*backbone=dict"
        r"\(type='TIMMBackbone', model_name='resnet18'\).*features_only=True",
    ):
        MODELS.build(dict(theirs, type='AnchoredImageClassifier'))


@pytest.mark.parametrize(
    'backbone',
    [
        dict(model_name='test_byobnet'),
        dict(model_name='test_vit', features_only=True),
    ],
    ids=['convolutions', 'tokens'],
)
def test_the_config_that_works_with_timm_works(backbone):
    timm = pytest.importorskip('timm')
    width = timm.create_model(backbone['model_name']).num_features
    model = with_bank(
        MODELS.build(
            dict(
                type='AnchoredImageClassifier',
                backbone=dict(type='TIMMBackbone', **backbone),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead', num_classes=7, in_channels=width
                ),
            )
        ),
        size=160,
    )
    with torch.no_grad():
        assert model(torch.randn(2, 3, 160, 160)).shape == (2, 7)


def test_arguments_that_are_not_known_and_no_backbone_are_refused():
    with pytest.raises(TypeError, match='but got masked_stats. Drop'):
        build_model(masked_stats='skip')
    with pytest.raises(TypeError, match='Expected a `backbone`.*but got none'):
        MODELS.build(dict(type='AnchoredImageClassifier'))
