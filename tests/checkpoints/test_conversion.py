"""Checkpoints as the authors and torchvision save them, into files."""

import argparse
import hashlib
import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.reference_runs import after_test, bank, hook, training_images
from mmengine.runner import load_checkpoint
from mmpretrain import get_model
from torch import nn
from torchvision import models

from mmanchor import CONFIG_DIR, __version__
from mmanchor.checkpoints.conversion import convert, convert_checkpoint
from mmanchor.checkpoints.torchvision_weights import ARCHITECTURES

TOOL = str(Path(__file__).parents[2] / 'tools/convert_checkpoint.py')


class ForCIFAR(nn.Module):
    """An anchored ResNet-18 as the authors wrap one."""

    def __init__(self, channels=6, classes=10):
        super().__init__()
        self.net = models.resnet18(num_classes=classes)
        self.net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.net.maxpool = nn.Identity()

    def forward(self, images):
        return self.net(images)

    def released(self):
        """The dict that they save, by the other names of two layers."""
        names = (('downsample', 'shortcut'), ('fc.', 'linear.'))
        weights = {}
        for name, weight in self.state_dict().items():
            for ours, theirs in names:
                name = name.replace(ours, theirs)
            weights[f'module.{name}'] = weight
        return dict(net=weights, acc=95.68, epoch=199)


@pytest.fixture
def cifar(tmp_path):
    """A model and its checkpoint."""
    net = ForCIFAR().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    path = str(tmp_path / 'ckpt-199.pth')
    torch.save(net.released(), path)
    return net, path


def tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
    runpy.run_path(TOOL, run_name='__main__')


def test_a_released_checkpoint_becomes_one_of_mmpretrain_s(
    cifar, tmp_path, monkeypatch, capsys
):
    net, path = cifar
    target = tmp_path / 'new' / 'converted.pth'
    tool(monkeypatch, path, target, '--arch', 'resnet18_cifar')
    printed = capsys.readouterr().out
    assert "an anchored model (6 channels), 10 classes, from 'net'" in printed
    assert 'CIFAR-10 in the order of its files' in printed
    assert '(0.4914, 0.4822, 0.4465), over (0.2023, 0.1994, 0.2' in printed
    shown = (Path(TOOL).parents[1] / 'docs/convert.md').read_text()
    lines = printed.splitlines()
    reported = [line for line in lines if not line.startswith('Writ')]
    assert len(reported) == 4
    assert all(f'{line}\n' in shown for line in reported)
    (config,) = [
        line.split()[1] for line in lines if line.startswith('config:')
    ]
    saved = torch.load(target, weights_only=True)
    assert set(saved) == {'meta', 'state_dict'}
    assert saved['meta']['mmanchor_version'] == __version__
    assert saved['meta']['converted'] == dict(
        source='ckpt-199.pth',
        sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        arch='resnet18_cifar',
        place='net',
        channels=6,
    )
    model = get_model(str(CONFIG_DIR.parent / config), pretrained=str(target))
    assert model._dataset_meta['classes'][0] == 'airplane'
    load_checkpoint(model, str(target), strict=True)
    images = torch.randn(3, 6, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval()(images), net(images), rtol=1e-4, atol=1e-5
        )


def test_it_is_tested_with_references_of_the_training_set(
    cifar, tmp_path, run
):
    net, path = cifar
    out = str(tmp_path / 'converted.pth')
    convert_checkpoint(path, out, 'resnet18_cifar')
    runner, metrics = after_test(
        run,
        out,
        **hook(num_references=2),
        **{
            'model.backbone.stem_channels': 64,
            'model.backbone.base_channels': 64,
            'model.head.in_channels': 512,
        },
    )
    assert metrics['accuracy/top1'] >= 0
    assert torch.equal(bank(runner).images, training_images(2))
    model = runner.model
    images, references = (
        model.data_preprocessor(dict(inputs=pixels))['inputs']
        for pixels in (training_images(7)[2:], training_images(2))
    )
    with torch.no_grad():
        by_hand = sum(
            net(torch.cat([r.expand_as(images), images - r], 1)) / 2
            for r in references
        )
        torch.testing.assert_close(
            model(images), by_hand, rtol=1e-4, atol=1e-4
        )


def test_classes_that_are_not_known(tmp_path, monkeypatch, capsys):
    torch.save(ForCIFAR(3, 7).state_dict(), tmp_path / 'a.pth')
    files = (tmp_path / 'a.pth', tmp_path / 'b.pth')
    tool(monkeypatch, *files, '--arch', 'resnet18_cifar')
    printed = capsys.readouterr().out
    assert 'a plain model (3 channels), 7 classes\n' in printed
    assert 'classes: unknown' in printed
    assert 'config: none here for that many classes' in printed
    assert 'dataset_meta' not in torch.load(tmp_path / 'b.pth')['meta']


def test_arguments_that_torchvision_saves_are_loaded_without_running_code(
    tmp_path,
):
    weights = behind('module.net.', ForCIFAR().net.state_dict())
    net = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer, [warmup, cosine], [5]
    )
    saved = dict(
        model=weights,
        model_ema=dict(weights, n_averaged=torch.tensor(3)),
        optimizer=optimizer.state_dict(),
        lr_scheduler=scheduler.state_dict(),
        epoch=3,
        args=argparse.Namespace(model='anchored_vit_b_16', lr=0.1, opt=None),
        scaler=dict(scale=65536.0, growth_factor=2.0),
    )
    path, out = str(tmp_path / 'model_3.pth'), str(tmp_path / 'out.pth')
    torch.save(saved, path)
    found = convert_checkpoint(path, out, 'resnet18_cifar')
    assert found.place == 'model_ema'
    assert torch.load(out)['state_dict'].keys() == found.weights.keys()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_another_fitting_architecture_is_named(cifar, tmp_path):
    _, path = cifar
    out = str(tmp_path / 'out.pth')
    with pytest.raises(
        ValueError,
        match='weights of vit_b_16, but the weights of .*ckpt-199.pth differ '
        r'in \d+: class_token is missing, .* and \d+ more. They fit '
        'resnet18_cifar: use `--arch resnet18_cifar`',
    ):
        convert_checkpoint(path, out, 'vit_b_16')
    with pytest.raises(
        ValueError, match='They fit no architecture that can be converted .res'
    ):
        convert(models.resnet50().state_dict(), 'resnet18_cifar')
    # the same names with a stem of another kernel, and of another width
    with pytest.raises(
        ValueError,
        match=r'differ in 1: conv1.weight has the shape \(64, 3, 7, 7\) '
        r'rather than \(64, 3, 3, 3\). They fit no',
    ):
        convert(models.resnet18().state_dict(), 'resnet18_cifar')
    with torch.device('meta'):
        small = models.swin_v2_s().state_dict()
        other = models.vit_b_16(image_size=384).state_dict()
    with pytest.raises(
        ValueError, match=r'swin_v2_t, but .* use `--arch swin_v2_s`'
    ):
        convert(small, 'swin_v2_t')
    with pytest.raises(ValueError, match='pos_embedding has the shape .*577'):
        convert(other, 'vit_b_16')
    with pytest.raises(ValueError, match="one of resnet18_cifar, .* 'vit'"):
        convert(other, 'vit')


def test_a_checkpoint_without_such_weights_is_refused(cifar, tmp_path):
    net, _ = cifar
    converted = convert(net.state_dict(), 'resnet18_cifar').weights
    no_tensors = dict(n_averaged=torch.tensor(1))
    for wrong, message in (
        ({}, 'the checkpoint to hold weights, .* only: nothing'),
        (dict(epoch=3, acc=2), 'it has no named tensors, only: epoch, acc'),
        (dict(net={}), "'net' has no named tensors, only: nothing"),
        (dict(net=no_tensors), "'net' has no named tensors"),
        ({0: torch.ones(1)}, 'no named tensors, only: 0'),
        ([1], 'a dict of weights, but got a list'),
        (ForCIFAR(4).state_dict(), 'conv1.weight of .* reads 4'),
        (converted, "torchvision's names, but .* those of MMPretrain"),
        (
            dict(state_dict=converted),
            "torchvision's names, but .* those of MMPretrain",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            convert(wrong, 'resnet18_cifar')


def test_files_are_read_and_written_with_care(cifar, tmp_path, monkeypatch):
    _, path = cifar
    out = tmp_path / 'out.pth'
    arch = 'resnet18_cifar'
    with pytest.raises(ValueError, match='another file than .*199.pth'):
        convert_checkpoint(path, path, arch, force=True)
    with pytest.raises(FileNotFoundError, match='none at nowhere.pth'):
        convert_checkpoint('nowhere.pth', str(out), arch)
    with pytest.raises(ValueError, match='a file, but got https'):
        convert_checkpoint('https://example.org/a.pth', str(out), arch)
    saved = torch.load(path)
    held = argparse.Namespace(model='resnet18', code=pytest.raises)
    for code in (dict(code=pytest.raises), dict(args=held)):
        torch.save({**saved, **code}, tmp_path / 'code.pth')
        with pytest.raises(ValueError, match='code.pth asks for .*raises'):
            convert_checkpoint(str(tmp_path / 'code.pth'), str(out), arch)
    (tmp_path / 'half.pth').write_bytes(Path(path).read_bytes()[:9999])
    with pytest.raises(ValueError, match='half.pth .* was cut short'):
        convert_checkpoint(str(tmp_path / 'half.pth'), str(out), arch)
    assert not out.exists()
    convert_checkpoint(
        str(tmp_path / 'code.pth'), str(out), arch, allow_code=True
    )

    before = out.read_bytes()
    with pytest.raises(ValueError, match='out.pth does. Name another, or add'):
        convert_checkpoint(path, str(out), arch)
    with pytest.raises(ValueError, match='differ in'):
        convert_checkpoint(path, str(out), 'vit_b_16', force=True)

    def full(checkpoint, path):
        Path(path).write_bytes(b'half')
        raise OSError('No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(torch, 'save', full)
        with pytest.raises(OSError, match='No space left'):
            convert_checkpoint(path, str(out), arch, force=True)
    assert out.read_bytes() == before
    convert_checkpoint(path, str(out), arch, force=True)
    assert torch.load(out)['meta']['converted']['source'] == 'ckpt-199.pth'
    assert {p.name for p in tmp_path.iterdir()} == {
        *('ckpt-199.pth', 'code.pth', 'half.pth', 'out.pth')
    }


def vit():
    with torch.device('meta'):
        return models.vit_b_16().state_dict()


def behind(prefix, weights):
    return {f'{prefix}{name}': w for name, w in weights.items()}


def test_weights_are_found_wherever_they_are():
    plain = vit()
    expected = convert(plain, 'vit_b_16')
    assert expected.place is None
    averaged = dict(behind('module.net.', plain), n_averaged=torch.tensor(9))
    for checkpoint, place in (
        (behind('net.', plain), None),
        (behind('module.', plain), None),
        (behind('module.net.', plain), None),
        (averaged, None),
        (dict(net=behind('module.', plain), acc=1.0), 'net'),
        (dict(model=behind('net.', plain), optimizer={}, epoch=3), 'model'),
        (
            dict(model=dict(other=plain['class_token']), model_ema=averaged),
            'model_ema',
        ),
    ):
        found = convert(checkpoint, 'vit_b_16')
        assert found.place == place
        assert found.weights.keys() == expected.weights.keys()
        assert all(found.weights[n] is w for n, w in expected.weights.items())


def test_which_weights_may_be_chosen():
    saved = dict(model=vit(), model_ema=vit(), scaler=dict(scale=1.0))
    assert convert(saved, 'vit_b_16').place == 'model_ema'
    found = convert(saved, 'vit_b_16', 'model')
    assert found.weights['backbone.cls_token'] is saved['model']['class_token']
    with pytest.raises(
        ValueError, match="under 'net' in .* under: model_ema, model"
    ):
        convert(saved, 'vit_b_16', 'net')
    with pytest.raises(ValueError, match="under 'net' in .* under: none"):
        convert(vit(), 'vit_b_16', 'net')


def test_old_names_of_torchvision_are_known():
    plain = vit()
    old = {
        name.replace('mlp.0', 'mlp.linear_1').replace(
            'mlp.3', 'mlp.linear_2'
        ): weight
        for name, weight in plain.items()
    }
    assert old.keys() != plain.keys()
    found, expected = (convert(w, 'vit_b_16').weights for w in (old, plain))
    assert found.keys() == expected.keys()


@pytest.mark.parametrize('arch', ARCHITECTURES)
@pytest.mark.parametrize('channels', [3, 6])
def test_every_config_named_is_there(arch, channels):
    with torch.device('meta'):
        weights = ARCHITECTURES[arch].build().state_dict()
        stem = weights[ARCHITECTURES[arch].stem]
        weights[ARCHITECTURES[arch].stem] = torch.empty(
            len(stem), channels, *stem.shape[2:]
        )
        head = ARCHITECTURES[arch].head
        wide = weights[f'{head}.weight'].size(1)
        for classes in (10, 100, 1000):
            weights[f'{head}.weight'] = torch.empty(classes, wide)
            weights[f'{head}.bias'] = torch.empty(classes)
            found = convert(weights, arch)
            known = (classes == 1000) != (arch == 'resnet18_cifar')
            assert (found.config is not None) == known
            if known:
                assert (CONFIG_DIR.parent / found.config).is_file()
                assert ('anchored' in found.config) == (channels == 6)
