"""Training batches as the network sees them."""

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmanchor.engine.batch_figure import (
    batch_figure,
    batch_images,
    browse,
    describe_input,
    save_figure,
    spread_and_error,
)
from mmanchor.models import AnchoringDataPreprocessor

NORMALISED = dict(mean=[120.0, 110, 100], std=[60.0, 50, 40])


def batch_of(count=4):
    torch.manual_seed(0)
    return dict(
        inputs=[
            torch.randint(256, (3, 8, 8), dtype=torch.uint8)
            for _ in range(count)
        ],
        data_samples=[DataSample().set_gt_label(i % 2) for i in range(count)],
    )


def seen(mask_prob, batch=None, **options):
    preprocessor = AnchoringDataPreprocessor(
        mask_prob=mask_prob, seed=0, num_classes=2, **{**NORMALISED, **options}
    )
    return batch_images(preprocessor, batch or batch_of(), 3, ['cat', 'dog'])


def test_images_are_shown_without_normalisation_and_add_up():
    batch = batch_of()
    found = seen(0, batch)
    pixels = np.stack([one.numpy() for one in batch['inputs'][:3]])
    expected = pixels.transpose(0, 2, 3, 1) / 255
    np.testing.assert_allclose(found.images, expected, atol=1e-6)
    np.testing.assert_allclose(
        found.references + 2 * found.residuals - 1, expected, atol=1e-5
    )
    assert found.targets == ['cat', 'dog', 'cat']
    assert found.masked == [False] * 3


def test_the_numbers_of_the_input_are_those_of_the_whole_batch():
    batch = batch_of()
    found = seen(0, batch)
    pixels = np.stack([one.numpy() for one in batch['inputs']])
    mean, std = (
        np.array(NORMALISED[key])[:, None, None] for key in ('mean', 'std')
    )
    values = (pixels - mean) / std
    expected = [
        function(values, axis=(0, 2, 3))
        for function in (np.mean, np.std, np.min, np.max)
    ]
    np.testing.assert_allclose(found.statistics, expected, atol=1e-5)
    text, is_plausible = describe_input([found.statistics])
    assert is_plausible and f'mean {expected[0][0]:.2f}, ' in text


@pytest.mark.parametrize(
    'wrong',
    [
        dict(mean=[0.3] * 3, std=[0.37] * 3),
        dict(mean=[0.0] * 3, std=[1.0] * 3),
        dict(std=[6e4, 50.0, 40.0]),
        dict(mean=[400.0, 110.0, 100.0]),
    ],
)
def test_a_wrong_normalisation_is_seen(wrong):
    right, found = seen(0), seen(0, **wrong)
    # the pictures are the same: the normalisation is undone
    np.testing.assert_allclose(found.images, right.images, atol=1e-3)
    figure = batch_figure([found])
    title = figure.get_suptitle().replace('\n', ' ')
    assert 'Implausible: ' in title and '`data_preprocessor`' in title
    assert figure._suptitle.get_color() != 'black'
    assert 'Implausible' not in batch_figure([right]).get_suptitle()


def test_blanked_references_are_the_mean_and_the_target_is_all_alike():
    found = seen(1)
    mean = np.array(NORMALISED['mean']) / 255
    np.testing.assert_allclose(
        found.references, np.broadcast_to(mean, (3, 8, 8, 3)), atol=1e-6
    )
    assert found.targets == ['all alike'] * 3 and all(found.masked)


@pytest.mark.parametrize('anchors', [True, False], ids=['images', 'features'])
def test_augmented_references_are_shown_as_the_network_sees_them(
    anchors, monkeypatch
):
    monkeypatch.setattr(AnchoringDataPreprocessor, 'anchors', anchors)
    invert = dict(type='torchvision/RandomInvert', p=1.0)
    plain, found = seen(0), seen(0, reference_augments=[invert])
    close = dict(rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.references, 1 - plain.references, **close)
    np.testing.assert_allclose(found.residuals, plain.residuals, **close)


def test_mixed_images_have_mixed_targets():
    found = seen(
        0, batch_augments=dict(augments=[dict(type='Mixup', alpha=1.0)])
    )
    mixed = [one for one in found.targets if '\n' in one]
    assert mixed and 'cat' in mixed[0] and 'dog' in mixed[0]
    shares = [line.partition(': ')[2] for line in mixed[0].split('\n')]
    assert sum(int(share.removesuffix(' %')) for share in shares) == 100


def test_the_figure_has_three_rows_a_batch_and_says_what_is_masked():
    figure = batch_figure([seen(0), seen(1)])
    first, second = figure.subfigs
    assert len(first.axes) == len(second.axes) == 9
    assert first.get_suptitle() == 'batch 1'
    assert second.get_suptitle() == 'batch 2: 3 of 3 masked'
    assert [axes.get_ylabel() for axes in first.axes[::3]] == [
        'image',
        'reference',
        'residual',
    ]


@pytest.mark.parametrize('name', ['', 'anchored-masked_'])
def test_a_config_is_browsed_and_its_figure_is_the_same_again(
    small_config, tmp_path, name
):
    cfg = small_config(name)
    for name in ('a.png', 'b.png'):
        save_figure(browse(cfg, 2, 4), tmp_path / name)
    first, again = (
        (tmp_path / name).read_bytes() for name in ('a.png', 'b.png')
    )
    assert first == again and first[:4] == b'\x89PNG'


@pytest.mark.parametrize('target', ['uniform', 'label'])
def test_masked_images_are_shown_with_the_target_of_their_loss(
    small_config, target
):
    cfg = small_config(
        **{
            'data_preprocessor.mask_prob': 1,
            'model.head.masked_target': target,
        }
    )
    (part,) = browse(cfg, 1, 2).subfigs
    titles = [axes.get_title().split('\n') for axes in part.axes[:2]]
    assert [one[1] for one in titles] == ['(masked)'] * 2
    alike = [one[0] == 'all alike' for one in titles]
    assert alike == [target == 'uniform'] * 2


def test_configs_that_can_not_be_drawn_are_refused(small_config):
    cfg = small_config()
    with pytest.raises(ValueError, match='--images to be at least 1'):
        browse(cfg, images=0)
    cfg.train_dataloader.drop_last = True
    cfg.train_dataloader.batch_size = 64
    with pytest.raises(ValueError, match='with a batch of images'):
        browse(cfg)
    cfg.train_dataloader = None
    with pytest.raises(ValueError, match='`model` and `train_dataloader`'):
        browse(cfg)


@pytest.mark.parametrize('count,bins', [(48, 8), (50_000, 40)])
def test_a_histogram_of_the_spread_is_readable_with_few_images_and_many(
    count, bins
):
    rng = np.random.default_rng(0)
    spread, wrong = rng.gamma(2, size=count), np.arange(count) % 48 == 0
    spread[7] = 1e6  # one outlier
    _, axes = spread_and_error(spread, wrong).axes
    assert axes.get_xlim()[1] < 20
    right, of_wrong = axes.containers
    assert len(right) == len(of_wrong) == bins
    for bars in (right, of_wrong):  # shares, so that both are seen
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
    texts = [one.get_text() for one in axes.get_legend().get_texts()]
    assert texts[1] == f'wrong: {wrong.sum():,}'


def test_the_error_is_drawn_by_quantile_of_the_spread():
    rng = np.random.default_rng(0)
    spread = rng.uniform(size=240)
    wrong = spread > 0.75
    axes, _ = spread_and_error(spread, wrong).axes
    order = wrong[np.argsort(spread)]
    errors, _, _ = axes.patches[0].get_data()
    assert errors.tolist() == [
        100 * order[i : i + 24].mean() for i in range(0, 240, 24)
    ]
    assert axes.get_ylim()[1] > 100
    # with one spread and no error there is still something to draw
    spread_and_error(np.ones(3), np.zeros(3, bool))
