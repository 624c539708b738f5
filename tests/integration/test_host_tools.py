"""The host's tools on anchored models: FLOPs, CAM, publishing."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers.builders import image_bytes
from mmcv import imread, imwrite
from mmengine.analysis import get_model_complexity_info
from mmpretrain import get_model
from mmpretrain.registry import MODELS

from mmanchor import engine


@pytest.fixture
def config(small_config, tmp_path):
    """Write a config file whose test pipeline reads image files."""

    def write(name):
        cfg = small_config(name)
        cfg.test_dataloader.dataset.pipeline = [
            dict(type='LoadImageFromFile'),
            *cfg.test_dataloader.dataset.pipeline,
        ]
        path = tmp_path / f'{name}config.py'
        cfg.dump(path)
        return str(path)

    return write


def build(config_file):
    model = get_model(config_file)
    torch.manual_seed(0)
    model.init_weights()
    return model.eval()


@pytest.mark.filterwarnings('ignore:The reference bank is empty')
@pytest.mark.parametrize('references', [0, 1, 3])
def test_flops_are_the_plain_ones_and_the_wider_stem_for_each_reference(
    config, references
):
    flops = []
    for name in ('', 'anchored_'):
        model = build(config(name))
        if name and references:
            model.reference_bank.fill(image_bytes(references))
        model.forward = model.extract_feat
        flops.append(get_model_complexity_info(model, (3, 16, 16))['flops'])
    plain, anchored = flops
    stem = 16 * 16 * 8 * 3 * 3 * 3  # as many again as the plain stem's
    assert anchored == max(1, references) * (plain + stem)


def test_flops_tool(tool, config, capsys):
    lines = []
    for name in ('', 'anchored_'):
        with (
            pytest.warns(UserWarning, match='reference bank is empty')
            if name
            else nullcontext()
        ):
            tool('analysis_tools/get_flops.py', config(name), '--shape', 16)
        lines.append(capsys.readouterr().out)
    (plain, plain_parameters), (flops, parameters) = (
        [
            float(text.split(f'{what}: ')[1].split('M')[0])
            for what in ('Flops', 'Params')
        ]
        for text in lines
    )
    assert flops - plain == pytest.approx(0.055, abs=0.002)
    assert parameters == pytest.approx(plain_parameters, abs=0.002)


def test_an_empty_bank_still_predicts_nothing(config):
    model = build(config('anchored_'))
    with pytest.raises(ValueError, match='no reference bank'):
        model.extract_feat(torch.zeros(1, 3, 16, 16))


@pytest.fixture
def checkpoints(small_config, tmp_path):
    """A plain model's checkpoint, and an anchored one's with three images."""
    cfg = small_config('')
    model = MODELS.build(cfg.model)
    model.init_weights()
    state = model.state_dict()
    bank = {'reference_bank.images': image_bytes(3, seed=1)}
    paths = []
    for name, extra in (('plain', {}), ('anchored', bank)):
        paths.append(tmp_path / f'{name}.pth')
        torch.save(dict(state_dict={**state, **extra}, meta={}), paths[-1])
    return paths


def test_cam_shows_what_the_plain_model_looks_at(
    tool, config, checkpoints, tmp_path
):
    photo = tmp_path / 'photo.png'
    imwrite(image_bytes(1, seed=7)[0].permute(1, 2, 0).numpy(), str(photo))
    maps = []
    for name, checkpoint in zip(('', 'anchored_'), checkpoints, strict=True):
        out = tmp_path / f'{name}cam.png'
        tool(
            'visualization/vis_cam.py',
            photo,
            config(name),
            checkpoint,
            '--save-path',
            out,
            '--target-category',
            4,
        )
        maps.append(imread(str(out)).astype(int))
    assert maps[0].shape == (16, 16, 3)
    assert np.ptp(maps[0], axis=(0, 1)).max() > 20  # there is something
    assert np.abs(maps[0] - maps[1]).max() <= 2


def test_cam_is_that_of_the_first_reference(
    tool, config, checkpoints, tmp_path
):
    _, anchored = checkpoints
    saved = torch.load(anchored)
    state = saved['state_dict']
    # no longer a warm start: the reference matters
    weight = state['backbone.conv1.weight']
    state['backbone.conv1.weight'] = torch.cat([weight.flip(0), weight], dim=1)
    images = state['reference_bank.images']
    photo = tmp_path / 'photo.png'
    imwrite(image_bytes(1, seed=7)[0].permute(1, 2, 0).numpy(), str(photo))
    maps = []
    for bank in (images, images[:1], images[1:2]):
        state['reference_bank.images'] = bank.clone()
        torch.save(saved, anchored)
        out = tmp_path / f'{len(maps)}.png'
        tool(
            'visualization/vis_cam.py',
            photo,
            config('anchored_'),
            anchored,
            '--save-path',
            out,
            '--target-category',
            4,
        )
        maps.append(imread(str(out)).astype(int))
    assert np.abs(maps[0] - maps[1]).max() <= 2
    assert np.abs(maps[0] - maps[2]).max() > 20


@pytest.mark.filterwarnings('ignore:Environment variable TORCH_FORCE')
@pytest.mark.parametrize(
    'hooks', [[], [dict(type='EMAHook', momentum=0.2)]], ids=['', 'averaged']
)
def test_a_published_checkpoint_gives_the_same_answers(
    tool, run, tmp_path, monkeypatch, hooks
):
    # the tool can't read any checkpoint of MMEngine otherwise: PyTorch >= 2.6
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    runner = run(
        custom_hooks=[*hooks, dict(type='KReferenceHook', num_references=3)],
        **{'train_cfg.max_epochs': 1},
    )
    runner.train()
    checkpoint = tmp_path / 'work/epoch_1.pth'
    tool(
        'model_converters/publish_model.py',
        checkpoint,
        tmp_path / 'published.pth',
    )
    (published,) = tmp_path.glob('published*.pth')
    assert published.stat().st_size < checkpoint.stat().st_size
    saved = torch.load(published, weights_only=True)  # nothing but weights
    assert 'optimizer' not in saved and 'ema_state_dict' not in saved
    answers = []
    for path in (checkpoint, published):
        model = get_model(runner.cfg, str(path))
        assert len(model.reference_bank) == 3
        samples = model.test_step(dict(inputs=image_bytes(5)))
        answers.append(torch.stack([s.pred_logits for s in samples]))
    assert torch.equal(*answers)
    assert model.reference_bank.images.float().std() > 0


@pytest.mark.parametrize('name', ['anchored_', 'anchored-masked_'])
def test_the_schedule_of_an_anchored_config_is_plotted(
    tool, small_config, tmp_path, name
):
    cfg = small_config(name)
    ours = [
        'AtomicCheckpointHook',
        'BatchImageHook',
        'ChannelsLastHook',
        'FrozenBackboneHook',
        'KReferenceHook',
        'PerturbReferenceWeightsHook',
        'ReproducibleRunHook',
        'StemDistanceHook',
        'StopOnSignalHook',
    ]
    assert ours == sorted(engine.__all__)
    cfg.custom_hooks = [dict(type=hook) for hook in ours]
    cfg.dump(tmp_path / 'config.py')
    tool(
        'visualization/vis_scheduler.py',
        tmp_path / 'config.py',
        '--dataset-size=64',
        '--not-show',
        '--save-path',
        tmp_path / 'schedule.png',
    )
    assert imread(str(tmp_path / 'schedule.png')).std() > 0
    assert not [*(tmp_path / 'work').glob('*.pth')]
