"""Every config builds, and the four lines work on MMPretrain's own."""

from pathlib import Path

import pytest
import torch
from helpers.builders import make_batch
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint, save_checkpoint
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor import CONFIG_DIR
from mmanchor.functional import anchor
from mmanchor.models import AnchoredImageClassifier

FOUR_LINES = """
_base_ = 'mmpretrain::{base}'
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)

model = dict(type='AnchoredImageClassifier')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=1)]
"""

# config -> image size
HOST_CONFIGS = {
    'resnet/resnet18_8xb16_cifar10.py': 32,
    'resnet/resnet18_8xb32_in1k.py': 64,
    'deit/deit-tiny_4xb256_in1k.py': 224,  # a VisionTransformer
    'swin_transformer_v2/swinv2-tiny-w8_16xb64_in1k-256px.py': 256,
    'convnext/convnext-tiny_32xb128_in1k.py': 64,
    'efficientnet/efficientnet-b0_8xb32_in1k.py': 64,
    'mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py': 64,
    'repvgg/repvgg-A0_8xb32_in1k.py': 64,
}
OUR_CONFIGS = sorted(
    str(path.relative_to(CONFIG_DIR))
    for folder in ('digits', 'cifar10')
    for path in (CONFIG_DIR / folder).rglob('*.py')
)


def build(cfg):
    return MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )


@torch.no_grad()
def shake(model):
    """Statistics and a head as after training, so that they matter."""
    for parameter in model.head.parameters():
        parameter.normal_(0, 0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)


@pytest.mark.parametrize('base,size', HOST_CONFIGS.items())
def test_the_four_lines_on_a_host_config(base, size, tmp_path):
    path = tmp_path / 'anchored.py'
    path.write_text(FOUR_LINES.format(base=base))
    cfg = Config.fromfile(path)
    host = Config.fromfile(_host_config_path(base))
    host.model.setdefault('data_preprocessor', host.data_preprocessor)
    plain = MODELS.build(host.model)
    plain.init_weights()
    shake(plain)
    plain.eval()

    # exact warm start from the plain model's checkpoint
    saved = str(tmp_path / 'plain.pth')
    save_checkpoint(dict(state_dict=plain.state_dict()), saved)
    model = build(cfg)
    assert type(model) is AnchoredImageClassifier
    load_checkpoint(model, saved)
    model.eval()
    images, references = torch.randn(2, 2, 3, size, size)
    with torch.no_grad():
        expected = plain(images)
        got = model(anchor(images, references))
    assert expected.norm() > 0
    assert (got - expected).norm() < 1e-4 * expected.norm()

    # one training step, masked and not
    model.train()
    optimizer = Runner.build_optim_wrapper(_RunnerOf(model), cfg.optim_wrapper)
    for mask_prob in (0.0, 1.0):
        model.data_preprocessor.mask_prob = mask_prob
        before = {k: v.clone() for k, v in model.named_parameters()}
        logged = model.train_step(
            make_batch(2, size, seed=int(mask_prob)), optimizer
        )
        assert logged['loss'].isfinite()
        assert logged['masked_share'] == mask_prob
        assert any(
            not torch.equal(before[k], v) for k, v in model.named_parameters()
        )

    # checkpoint, reload, prediction
    model.reference_bank.fill(make_batch(2, size, seed=3)['inputs'])
    trained = str(tmp_path / 'anchored.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), trained)
    again = build(cfg)
    load_checkpoint(again, trained)
    batch = make_batch(2, size, seed=4)
    with torch.no_grad():
        first, second = (
            m.eval().test_step(dict(batch)) for m in (model, again)
        )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.pred_score, b.pred_score)
        assert a.pred_score.sum().item() == pytest.approx(1, abs=1e-4)


class _RunnerOf:
    """As much of a runner as building an optimizer needs."""

    def __init__(self, model):
        self.model = model


def _host_config_path(base) -> Path:
    import mmpretrain

    return Path(mmpretrain.__file__).parent / '.mim' / 'configs' / base


@pytest.mark.parametrize('name', OUR_CONFIGS)
def test_our_configs_build_and_are_leaves(name):
    path = CONFIG_DIR / name
    cfg = Config.fromfile(path)
    assert cfg.filename and build(cfg)
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 30


def test_there_are_configs():
    assert len(OUR_CONFIGS) >= 5
