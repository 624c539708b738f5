import math

import pytest
import torch
from helpers.builders import NUM_CLASSES, image_bytes, make_batch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS

from mmanchor.datasets import ReferenceSet
from mmanchor.models import AnchoringDataPreprocessor

HOST = dict(
    mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True, num_classes=NUM_CLASSES
)


def preprocessor(**kwargs):
    return AnchoringDataPreprocessor(**{'seed': 0, **HOST, **kwargs})


def masks(batch):
    return [sample.reference_masked for sample in batch['data_samples']]


@pytest.mark.parametrize('as_list', [False, True])
def test_both_collated_forms_are_normalised_then_anchored(as_list):
    inputs = image_bytes(6)
    batch = make_batch(6, inputs=list(inputs) if as_list else inputs)
    images = ClsDataPreprocessor(**HOST)(dict(inputs=inputs))['inputs']
    out = preprocessor(mask_prob=0)(batch, training=True)
    r, d = out['inputs'].chunk(2, dim=1)
    torch.testing.assert_close(r + d, images)
    sources = (r[:, None] == images[None]).flatten(2).all(2)
    assert sources.sum(1).eq(1).all()  # each reference is one of the batch
    assert not sources.diagonal().any()  # and never the image itself
    assert masks(out) == [False] * 6


def test_testing_leaves_images_to_the_classifier():
    batch = make_batch(3)
    expected = ClsDataPreprocessor(**HOST)(make_batch(3))['inputs']
    out = preprocessor(mask_prob=1)(batch)
    assert torch.equal(out['inputs'], expected)
    assert 'reference_masked' not in out['data_samples'][0]


def test_masking_blanks_after_normalisation_and_keeps_the_residual():
    plain = preprocessor(mask_prob=0)(make_batch(4), training=True)['inputs']
    out = preprocessor(mask_prob=1)(make_batch(4), training=True)
    assert torch.equal(out['inputs'][:, :3], torch.zeros(4, 3, 16, 16))
    assert torch.equal(out['inputs'][:, 3:], plain[:, 3:])
    assert masks(out) == [True] * 4


def test_mask_by_sample_masks_rows_of_a_batch():
    out = preprocessor(mask_prob=0.5, mask_by='sample')(
        make_batch(64), training=True
    )
    blank = (out['inputs'][:, :3] == 0).flatten(1).all(1)
    assert blank.tolist() == masks(out)
    assert 16 < blank.sum() < 48


def test_mixup_happens_before_anchoring():
    out = preprocessor(
        mask_prob=0,
        batch_augments=dict(augments=[dict(type='Mixup', alpha=1.0)]),
    )(make_batch(4), training=True)
    r, d = out['inputs'].chunk(2, dim=1)
    images = ClsDataPreprocessor(**HOST)(make_batch(4))['inputs']
    mixed = r + d
    assert not torch.allclose(mixed, images)
    torch.testing.assert_close(mixed.mean(0), images.mean(0))
    assert 'gt_score' in out['data_samples'][0]


def draws(model, iterations, size=8):
    """References and masks of some iterations, as the batches show them."""
    found = []
    for _ in range(iterations):
        out = model(make_batch(size), training=True)
        found.append((out['inputs'], masks(out)))
    return found


def same(first, second):
    return all(
        torch.equal(a, b) and m == n
        for (a, m), (b, n) in zip(first, second, strict=True)
    )


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_draws_are_those_of_seed_and_iteration(mask_by):
    kwargs = dict(mask_prob=0.5, mask_by=mask_by)
    whole = draws(preprocessor(**kwargs), 8)
    torch.manual_seed(99)  # global random state does not matter
    assert same(whole, draws(preprocessor(**kwargs), 8))
    assert not same(whole, draws(preprocessor(**kwargs, seed=1), 8))
    assert not same(whole[:4], whole[4:])


def test_a_checkpoint_continues_the_draws():
    whole = draws(preprocessor(mask_prob=0.5), 8)
    first, second = (preprocessor(mask_prob=0.5) for _ in range(2))
    draws(first, 4)
    draws(second, 2)  # has drawn before it is loaded into
    second.load_state_dict(first.state_dict())
    assert same(whole[4:], draws(second, 4))
    second.restart()
    assert same(whole, draws(second, 8))


def test_a_plain_checkpoint_has_no_iteration():
    model = preprocessor()
    model.load_state_dict({}, strict=True)
    assert model.iteration == 0


def take_rank(monkeypatch, rank, world_size=2):
    monkeypatch.setattr(
        'mmanchor.models.data_preprocessor.get_dist_info',
        lambda: (rank, world_size),
    )


def draws_of_ranks(monkeypatch, **kwargs):
    """Inputs and masks of two ranks."""
    found = []
    for rank in (0, 1):
        take_rank(monkeypatch, rank)
        found.append(draws(preprocessor(mask_prob=0.5, **kwargs), 12))
    return [zip(*of_rank) for of_rank in found]


def test_ranks_share_the_coin_and_draw_their_own_references(monkeypatch):
    (inputs, coins), (others, other_coins) = draws_of_ranks(monkeypatch)
    assert coins == other_coins
    assert {True, False} == {mask[0] for mask in coins}
    assert not any(torch.equal(a, b) for a, b in zip(inputs, others))


def test_ranks_mask_their_own_samples(monkeypatch):
    (_, masks), (_, others) = draws_of_ranks(monkeypatch, mask_by='sample')
    assert not any(a == b for a, b in zip(masks, others))


@pytest.mark.parametrize('mask_keep', [0, 0.25])
def test_processes_share_out_the_draws_of_one(monkeypatch, mask_keep):
    references = Images(dict(inputs=image) for image in image_bytes(7))
    images = image_bytes(16, seed=9)

    def of_rank(rank, world_size, size):
        take_rank(monkeypatch, rank, world_size)
        model = preprocessor(
            mask_prob=0.5,
            mask_by='sample',
            mask_keep=mask_keep,
            references=dict(type='ReferenceSet'),
        )
        model.reference_set.load(references)
        own = images[rank::world_size][:size]
        return [
            model(make_batch(size, inputs=own), training=True)['inputs']
            for _ in range(3)
        ]

    whole = of_rank(0, 1, 16)
    for size in (4, 3):  # the last batches of ranks may differ by an image
        rows = of_rank(1, 4, size)
        assert all(
            torch.equal(a, b[1::4][:size])
            for a, b in zip(rows, whole, strict=True)
        )


def test_one_image_is_kept_for_a_batch_of_one_not_the_batch():
    model = preprocessor()
    with pytest.raises(ValueError, match='at least 2 images'):
        model(make_batch(1), training=True)
    model(make_batch(4), training=True)
    kept = model._last_image
    assert kept.untyped_storage().nbytes() == 4 * kept.numel()
    model.restart()
    with pytest.raises(ValueError, match='at least 2 images'):
        model(make_batch(1), training=True)


def test_a_last_batch_of_one_borrows_from_the_one_before():
    model = preprocessor(mask_prob=0)
    before = ClsDataPreprocessor(**HOST)(make_batch(4))['inputs']
    model(make_batch(4), training=True)
    out = model(make_batch(1, seed=7), training=True)['inputs']
    assert torch.equal(out[0, :3], before[-1])
    assert out[:, 3:].abs().max() > 0


class Images(list):
    """A dataset of given images with the test pipeline's form."""

    def get_data_info(self, index):
        return dict(gt_label=index % NUM_CLASSES)


def test_references_from_a_reference_set():
    images = image_bytes(5, seed=3)
    model = preprocessor(
        mask_prob=0, references=dict(type='ReferenceSet', size=3)
    )
    model.reference_set.load(Images(dict(inputs=image) for image in images))
    assert model.reference_set.images.dtype == torch.uint8
    known = ClsDataPreprocessor(**HOST)(
        dict(inputs=model.reference_set.images)
    )['inputs']
    r = model(make_batch(64), training=True)['inputs'][:, :3]
    used = (r[:, None] == known[None]).flatten(2).all(2)
    assert used.sum(1).eq(1).all()
    assert used.any(0).all()  # all three are drawn
    assert model(make_batch(1), training=True)['inputs'].shape[0] == 1
    # testing reads no images
    assert preprocessor(references=dict(type='ReferenceSet'))(make_batch(2))


def test_references_of_another_size_are_refused():
    model = preprocessor(references=dict(type='ReferenceSet'))
    model.reference_set.load(
        Images(dict(inputs=image) for image in image_bytes(4, size=8))
    )
    with pytest.raises(ValueError, match='pipelines end at one size'):
        model(make_batch(4), training=True)


@pytest.mark.parametrize('name', ['mask_prob', 'mask_keep'])
def test_shares_out_of_range_or_of_another_type(name):
    for value in (-0.1, 1.5, math.nan, math.inf):
        message = rf'`{name}` to be in \[0, 1\], but got '
        with pytest.raises(ValueError, match=message):
            preprocessor(**{name: value})
    for value in ('0.25', None, True, [0.2]):
        with pytest.raises(TypeError, match=f'`{name}` to be a number'):
            preprocessor(**{name: value})


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_partial_masks_blank_all_but_a_crop_in_masked_rows_alone(mask_by):
    kwargs = dict(mask_prob=0.5, mask_by=mask_by)
    plain, blank, partial, whole = (
        draws(preprocessor(**one), 6)
        for one in (
            dict(mask_prob=0),
            kwargs,
            dict(kwargs, mask_keep=0.25),
            dict(kwargs, mask_keep=1),
        )
    )
    crops = set()
    for (a, _), (b, mask), (c, same_mask), (d, _) in zip(
        plain, blank, partial, whole, strict=True
    ):
        assert mask == same_mask  # nor do references change
        assert torch.equal(a, d)  # the whole reference is left
        assert torch.equal(c[:, 3:], a[:, 3:])
        kept = (c == a).all(1)  # of reference and residual
        share = kept.flatten(1).float().mean(1)
        expected = torch.where(torch.tensor(mask), 0.25, 1.0)
        assert torch.equal(share, expected)
        assert torch.equal(
            c[:, :3][~kept[:, None].expand(-1, 3, -1, -1)],
            b[:, :3][~kept[:, None].expand(-1, 3, -1, -1)],
        )
        crops |= {tuple(one.flatten().tolist()) for one in kept}
    assert len(crops) > 8  # each masked row has a crop of its own


INVERT = dict(type='torchvision/RandomInvert', p=1.0)
JITTER = dict(type='torchvision/ColorJitter', brightness=0.5, hue=0.3)


@pytest.mark.parametrize('every', [1, 3])
def test_references_are_augmented_and_residuals_are_to_them_as_they_were(
    every,
):
    mean, std = 120, 60
    plain = draws(preprocessor(mask_prob=0.3), 7)
    found = draws(
        preprocessor(
            mask_prob=0.3, reference_augments=[INVERT], augment_every=every
        ),
        7,
    )
    assert any(mask[0] for _, mask in plain)
    for step, ((a, mask), (b, same_mask)) in enumerate(
        zip(plain, found, strict=True)
    ):
        assert mask == same_mask
        assert torch.equal(a[:, 3:], b[:, 3:])
        expected = a[:, :3]
        if step % every == 0 and not mask[0]:
            expected = (255 - (expected * std + mean) - mean) / std
        torch.testing.assert_close(b[:, :3], expected)


@pytest.mark.parametrize(
    'augments',
    [
        [JITTER],
        [dict(type='RandomApply', transforms=[JITTER], prob=0.5)],
        [
            dict(
                type='RandomChoice',
                transforms=[[JITTER], [dict(type='torchvision/AutoAugment')]],
            )
        ],
    ],
    ids=['torch', 'numpy', 'both'],
)
def test_augmentations_are_those_of_seed_rank_and_iteration(
    augments, monkeypatch
):
    kwargs = dict(mask_prob=0, reference_augments=augments)
    torch.manual_seed(0)
    whole = draws(preprocessor(**kwargs), 6)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    again = preprocessor(**kwargs)
    assert same(whole, draws(again, 6))
    again.restart(4)
    assert same(whole[4:], draws(again, 2))
    assert not same(whole, draws(preprocessor(**kwargs, seed=1), 6))
    torch.manual_seed(0)  # random state is as if nothing had been drawn
    assert torch.equal(state, torch.get_rng_state())
    references = draws(preprocessor(mask_prob=0), 6)
    changed = [
        not torch.equal(a, b)
        for (a, _), (b, _) in zip(whole, references, strict=True)
    ]
    assert any(changed)
    take_rank(monkeypatch, 1)
    assert not same(whole, draws(preprocessor(**kwargs), 6))


def test_references_of_a_set_are_augmented():
    model = preprocessor(
        mask_prob=0,
        references=dict(type='ReferenceSet'),
        reference_augments=[INVERT],
    )
    images = image_bytes(5, seed=3)
    model.reference_set.load(Images(dict(inputs=image) for image in images))
    r = model(make_batch(8), training=True)['inputs'][:, :3]
    known = ClsDataPreprocessor(**HOST)(dict(inputs=255 - images))['inputs']
    near = (r[:, None] - known[None]).abs().amax((2, 3, 4)) < 1e-5
    assert near.sum(1).eq(1).all()


def test_pixels_between_0_and_1_are_augmented_alike():
    kwargs = dict(mask_prob=0, reference_augments=[INVERT])
    images = image_bytes(4)
    expected = preprocessor(**kwargs)(
        make_batch(4, inputs=images), training=True
    )['inputs']
    small = preprocessor(
        **kwargs, mean=[120.0 / 255] * 3, std=[60.0 / 255] * 3
    )(make_batch(4, inputs=images / 255), training=True)['inputs']
    torch.testing.assert_close(small, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'augments,error,words',
    [
        ('torchvision/ColorJitter', TypeError, "a list of configs, .*'torchv"),
        ([], ValueError, 'the list is empty'),
        (['torchvision/ColorJitter'], TypeError, 'a name as `type`'),
        ([dict(type='RandomFlip')], ValueError, "but got 'RandomFlip'"),
        (
            [dict(type='torchvision/ColourJitter')],
            ValueError,
            "Did you mean 'torchvision/ColorJitter'",
        ),
        (
            [dict(type='RandomApply', transforms=[dict(type='Rotate')])],
            ValueError,
            "but got 'Rotate'",
        ),
    ],
    ids=str,
)
def test_augmentations_that_work_on_no_batch_are_refused(
    augments, error, words
):
    with pytest.raises(error, match=words):
        preprocessor(reference_augments=augments)


@pytest.mark.parametrize(
    'step,words',
    [
        (
            dict(type='torchvision/RandomResizedCrop', size=8),
            r'shape \(4, 3, 16, 16\).*got \(4, 3, 8, 8\).*`size`',
        ),
        (dict(type='torchvision/ToPILImage'), 'but one failed'),
        (
            dict(type='torchvision/ConvertImageDtype', dtype='float'),
            'uint8.*got .*float32',
        ),
        (dict(type='torchvision/Lambda', lambd=list), 'but got list'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_augmentations_that_fail_or_change_the_shape_are_refused(step, words):
    model = preprocessor(mask_prob=0, reference_augments=[step])
    with pytest.raises(ValueError, match=words):
        model(make_batch(4), training=True)


@pytest.mark.parametrize('value', [0, -1, 2.0, True, None])
def test_augment_every_is_a_positive_integer(value):
    with pytest.raises(ValueError, match='`augment_every`.*positive integer'):
        preprocessor(augment_every=value)


def test_augmentations_need_the_normalisation():
    with pytest.raises(ValueError, match='`mean` and `std` with `reference_'):
        AnchoringDataPreprocessor(reference_augments=[INVERT])


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="'batch' or 'sample'.*'pixel'"):
        preprocessor(mask_by='pixel')
    with pytest.raises(ValueError, match="'shared' or 'rank'.*'both'"):
        preprocessor(mask_coin='both')
    with pytest.raises(TypeError, match="dict.type='ReferenceSet'.*'all'"):
        preprocessor(references='all')
    with pytest.raises(TypeError, match="'ReferenceSet'.*'Digits'"):
        preprocessor(references=dict(type='Digits', pipeline=[]))
    with pytest.raises(TypeError, match='non-negative integer.*-1'):
        preprocessor(seed=-1)
    typo = dict(type='AnchoringDataPreprocessor', mask_probability=0.2)
    with pytest.raises(
        TypeError, match='of AnchoringData.*std, .*got mask_probability'
    ):
        MODELS.build(typo)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('value', [math.nan, -math.inf])
def test_pixels_that_are_not_finite_are_refused_by_name(training, value):
    batch = make_batch(3, inputs=image_bytes(3).float())
    batch['inputs'][1, 0, 0, 0] = value
    batch['data_samples'][1].set_field('one.png', 'img_path')
    with pytest.raises(ValueError, match=r'image 1 of the batch \(one.png\)'):
        preprocessor()(batch, training=training)
    with pytest.raises(ValueError, match='image 1 of the batch. A ref'):
        preprocessor()(dict(inputs=batch['inputs']))


@pytest.mark.parametrize('as_list', [False, True])
def test_a_batch_of_floats_is_checked_with_one_answer(as_list, monkeypatch):
    answers = []
    is_finite = torch.Tensor.isfinite
    monkeypatch.setattr(
        torch.Tensor,
        'isfinite',
        lambda one: answers.append(one.shape) or is_finite(one),
    )
    images = image_bytes(3).float()
    preprocessor()(dict(inputs=list(images) if as_list else images))
    assert answers == [torch.Size([])]


@pytest.mark.parametrize('as_list', [False, True])
def test_anchored_inputs_belong_to_the_model(as_list):
    inputs = torch.rand(2, 6, 8, 8)
    with pytest.raises(ValueError, match='3 channels.*got 6.*`model.inputs'):
        preprocessor()(dict(inputs=list(inputs) if as_list else inputs))


def test_one_mean_serves_all_channels_as_in_the_host():
    one = dict(mean=[120.0], std=[60.0])
    expected = ClsDataPreprocessor(**one)(make_batch(2))['inputs']
    out = AnchoringDataPreprocessor(**one)(make_batch(2))
    assert torch.equal(out['inputs'], expected)


def test_reference_set_can_be_given_by_type():
    model = preprocessor(references=dict(type=ReferenceSet))
    assert isinstance(model.reference_set, ReferenceSet)
