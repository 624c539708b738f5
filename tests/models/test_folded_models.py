import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers.builders import build_model, image_bytes, make_batch
from helpers.small_models import BACKBONES, build, built_for_2c, one_by_one
from mmcv.cnn import build_conv_layer
from mmengine.model import BaseModule
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmanchor import fold_reference
from mmanchor.functional import average_references, widen_stem
from mmanchor.models import FoldedReferences


@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_a_folded_model_is_a_plain_one_with_the_same_answers(name):
    model = build(name, k=1)
    before = copy.deepcopy(model.state_dict())
    folded = fold_reference(model)
    assert type(folded) is ImageClassifier
    assert type(folded.head) is model.head.host_class
    assert type(folded.data_preprocessor) is ClsDataPreprocessor
    images = torch.randn(3, 3, 32, 32)
    expected = one_by_one(model, images)[0]
    assert (folded(images) - expected).norm() < 1e-5 * expected.norm()

    # the preprocessor folded with it
    batch = make_batch(3, inputs=image_bytes(3, size=32, seed=4))
    ours, theirs = (
        torch.stack([s.pred_score for s in m.test_step(copy.deepcopy(batch))])
        for m in (folded, model)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

    # and nothing was done to the model itself
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert model.image_channels == 3
    torch.testing.assert_close(one_by_one(model, images)[0], expected)


@torch.no_grad()
def test_it_has_a_plain_model_s_weights_and_cost():
    model = build('convolution', k=1)
    folded = fold_reference(model)
    backbone, neck, width = BACKBONES['convolution']
    plain = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type=neck),
            head=dict(type='LinearClsHead', num_classes=7, in_channels=width),
        )
    )
    shapes = {k: v.shape for k, v in folded.state_dict().items()}
    map_ = shapes.pop('backbone.conv1.reference_map')
    assert map_ == (8, 32, 32)
    assert shapes == {k: v.shape for k, v in plain.state_dict().items()}
    counts = []
    for net in (plain.eval(), folded):
        with FlopCounterMode(display=False) as counter:
            net(torch.randn(2, 3, 32, 32))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@torch.no_grad()
def test_it_can_be_copied_pickled_and_loaded():
    model = build('convolution', k=1)
    folded, images = fold_reference(model), torch.randn(2, 3, 32, 32)
    other = fold_reference(build('convolution', k=1))
    other.load_state_dict(folded.state_dict())
    for again in (
        copy.deepcopy(folded),
        pickle.loads(pickle.dumps(folded)),
        other,
    ):
        assert torch.equal(again(images), folded(images))


@pytest.mark.parametrize(
    'average,references_per_pass',
    [('logits', None), ('probabilities', 1), ('probabilities', 2)],
)
@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_k_references_as_constants(name, average, references_per_pass):
    model = build(name, average=average)
    module = FoldedReferences(model, references_per_pass)
    images = torch.randn(3, 3, 32, 32)
    expected = average_references(one_by_one(model, images), average)
    assert (module(images) - expected).norm() < 1e-5 * expected.norm()
    saved = module.state_dict()
    assert not any('bank' in key for key in saved)
    again = FoldedReferences(build(name, average=average))
    again.load_state_dict(saved)
    torch.testing.assert_close(again(images), module(images))


def test_what_cannot_be_folded():
    model = build_model()
    with pytest.raises(ValueError, match='no reference bank'):
        fold_reference(model)
    model.reference_bank.fill(image_bytes(3))
    with pytest.raises(ValueError, match='one reference in use.*but got 3'):
        fold_reference(model)
    model.reference_bank.use(1)
    folded = fold_reference(model)
    message = r'size \(C, H, W\) = \(3, 16, 16\), but got \(3, 20, 16\)'
    with pytest.raises(ValueError, match=message):
        folded(torch.randn(1, 3, 20, 16))
    with pytest.raises(ValueError, match=message):
        FoldedReferences(model)(torch.randn(1, 3, 20, 16))


def test_merged_branches_cannot_be_folded():
    model = build('two branches', k=1)
    model.backbone.switch_to_deploy()
    with pytest.raises(
        ValueError, match='branch_3x3.conv, stem.branch_1x1.conv is missing'
    ):
        fold_reference(model)


def test_a_backbone_built_for_2c_channels_cannot_be_folded():
    model = built_for_2c()
    for folding in (fold_reference, FoldedReferences):
        with pytest.raises(ValueError, match='T2T_ViT was built for 6 chann'):
            folding(model)


@MODELS.register_module()
class Patches(BaseModule):
    """Cuts patches out, then reads each as an image."""

    def __init__(self, kind='Conv2d'):
        super().__init__()
        self.project = build_conv_layer(dict(type=kind), 3, 64, 8)

    def forward(self, x):
        patches = F.unfold(x, 8, stride=8).mT.reshape(-1, x.size(1), 8, 8)
        features = self.project(patches).relu()
        return (features.view(len(x), -1, 64).mT[..., None],)


def model_of_patches(k, kind='Conv2d'):
    model = build_model(type='AnchoredImageClassifier')
    model.reference_bank.fill(image_bytes(k))
    model.backbone = Patches(kind)
    model.stem = list(widen_stem(model.backbone))
    return model.eval()


@torch.no_grad()
@pytest.mark.filterwarnings('ignore:.*not linear in its weight')
@pytest.mark.parametrize(
    'kind,rows_per_pass',
    [('Conv2d', 1), ('Conv2d', 6), ('Conv2d', 64), ('ConvWS', 64)],
)
def test_a_stem_that_reads_patches_or_standardises_is_shared(
    kind, rows_per_pass
):
    model = model_of_patches(5, kind)
    model.rows_per_pass = rows_per_pass
    images = torch.randn(3, 3, 16, 16)
    expected = one_by_one(model, images)
    got = model.reference_logits(images)
    assert (got - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize('folding', [fold_reference, FoldedReferences])
@pytest.mark.filterwarnings('ignore:.*not linear in its weight')
@pytest.mark.parametrize(
    'kind,reason',
    [('Conv2d', 'reads patches that were cut'), ('ConvWS', 'standardises')],
)
def test_a_stem_whose_halves_are_not_just_added_cannot_be_folded(
    folding, kind, reason
):
    model = model_of_patches(1, kind)
    with pytest.raises(ValueError, match=f'backbone.project, a .*{reason}'):
        folding(model)


@pytest.mark.parametrize('protocol', ['adaptive', 'transduction'])
@pytest.mark.parametrize('folding', [fold_reference, FoldedReferences])
def test_what_depends_on_the_image_cannot_be_folded(folding, protocol):
    model = build('convolution', k=1)
    model.protocol = protocol
    with pytest.raises(
        ValueError, match=f"but got '{protocol}', where.*'mean'. with K"
    ):
        folding(model)
    model.protocol = 'single'
    folding(model)


def test_a_single_reference_of_many_is_folded():
    model, images = build('convolution', k=3), torch.randn(2, 3, 32, 32)
    model.protocol = 'single'
    with torch.no_grad():
        expected = model(images)
        for folded in (fold_reference(model), FoldedReferences(model)):
            torch.testing.assert_close(
                folded(images), expected, rtol=1e-4, atol=1e-5
            )


def test_calibrated_logits_of_one_reference_are_no_plain_model_s():
    model, images = build('convolution', k=1), torch.randn(2, 3, 32, 32)
    model.average = 'calibrated'
    with pytest.raises(ValueError, match="but got 'calibrated', which halves"):
        fold_reference(model)
    with torch.no_grad():
        found, expected = FoldedReferences(model)(images), model(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_references_per_pass_out_of_range():
    with pytest.raises(ValueError, match='`references_per_pass` to be at lea'):
        FoldedReferences(build('convolution', k=2), references_per_pass=0)


def test_no_image_is_left_in_folded_references():
    model = build('convolution', k=3)
    batch = make_batch(4, size=32)
    model.data_preprocessor(batch, training=True)
    assert model.data_preprocessor._last_image is not None
    folded = FoldedReferences(model)
    saved = io.BytesIO()
    torch.save(folded, saved)
    for image in (
        model.data_preprocessor._last_image,
        model.reference_bank.images[0],
    ):
        assert image.numpy().tobytes() not in saved.getvalue()


def test_autocast_stays_in_half_precision_behind_a_folded_stem():
    model, images = build('convolution', k=1), torch.randn(2, 3, 32, 32)
    folded = fold_reference(model)
    kinds = []
    folded.backbone.bn1.register_forward_pre_hook(
        lambda _, args: kinds.append(args[0].dtype)
    )
    with torch.autocast('cpu', torch.bfloat16):
        folded(images)
    assert kinds == [torch.bfloat16]
