"""All of MMPretrain's classification configs build with the four lines."""

import logging
from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmpretrain.apis.model import ModelHub
from mmpretrain.registry import MODELS
from torch.overrides import TorchFunctionMode

from mmanchor.diagnostics.backbone_matrix import HOST_CONFIGS, MATRIX
from mmanchor.diagnostics.plain_and_anchored import FOUR_LINES
from mmanchor.models.data_preprocessor import check_settings_reach_the_model

CONFIGS = sorted(
    path.relative_to(HOST_CONFIGS).as_posix()
    for path in HOST_CONFIGS.glob('[!_]*/**/*.py')
)
DOCS = Path(__file__).parents[2] / 'docs'
FOLDERS = sorted({name.partition('/')[0] for name in CONFIGS})
# one folder for each kind of outcome
QUICK = {'byol', 'csra', 'eva', 'lenet', 'swin_transformer_v2', 't2t_vit'}
# what MMPretrain can't load or build itself, with its own error
HOST_ERRORS = {
    'byol/benchmarks/mask-rcnn_r50-c4_ms-1x_coco.py': 'ModuleNotFoundError: mmdet is not installed',
    'byol/benchmarks/mask-rcnn_r50_fpn_ms-1x_coco.py': 'ModuleNotFoundError: mmdet is not installed',
    **{
        f'levit/deploy/levit-{width}_8xb256_in1k.py': 'TypeError: LeViTClsHead.switch_to_deploy() takes 1 positional '
        'argument but 2 were given'
        for width in ('128', '128s', '192', '256', '384')
    },
    **{
        f'replknet/{name}_32xb64_in1k{size}.py': 'RuntimeError: The configuration file type in the inheritance chain '
        'must match'
        for name in ('replknet-31B', 'deploy/replknet-31B-deploy')
        for size in ('', '-384px')
    },
    **{
        f'swin_transformer_v2/swinv2-{size}-w12_8xb128_in21k-192px.py': "KeyError: 'test_pipeline'"
        for size in ('base', 'large')
    },
}
# several labels an image, so that no softmax could say "don't know"
REFUSED = {
    'csra/resnet101-csra_1xb16_voc07-448px.py',
    'vgg/vgg16_8xb16_voc.py',
    'resnet/resnet50_8xb16-mixup_cifar10.py',
    'resnet/resnet50_8xb32-cutmix_in1k.py',
    'resnet/resnet50_8xb32-mixup_in1k.py',
}
# they keep their data preprocessor inside `model`
INNER_PREPROCESSOR = {
    f'{name}/benchmarks/vit-base-p16_8xb2048-linear-coslr-100e_in1k.py'
    for name in ('eva', 'milan')
}
MASK_PROB = 0.9  # not the default: settings have to reach the model
OF_ONE_CHANNEL = {'lenet/lenet5_mnist.py'}


class WithoutMemory(TorchFunctionMode):
    """Weights on the meta device; ranges, whose values are read, are real."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.linspace, torch.arange, torch.tensor):
            kwargs.setdefault('device', 'cpu')
        return function(*args, **kwargs)


def build(cfg):
    check_settings_reach_the_model(cfg)
    config = dict(cfg.model)
    # as a runner does
    config.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    if config['backbone']['type'] == 'LoRAModel':
        # initialises itself when built, from a file that it leaves open
        config['backbone']['module']['init_cfg'] = None
        return MODELS.build(config)
    with torch.device('meta'), WithoutMemory():
        model = MODELS.build(config)
    assert next(model.parameters()).is_meta
    return model


def attempt(function, argument):
    """What a function returns, or its error as text."""
    try:
        return function(argument)
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def outcome(name, folder):
    """What comes of a config with the four lines."""
    path = HOST_CONFIGS / name
    plain = attempt(Config.fromfile, path)
    if isinstance(plain, str):
        return 'host: ' + plain
    if plain.get('model', {}).get('type') != 'ImageClassifier':
        return 'no classifier'
    anchored = Path(folder) / 'anchored.py'
    lines = FOUR_LINES.format(base=path.as_posix(), imports=['mmanchor'])
    anchored.write_text(lines.replace('0.25', str(MASK_PROB)))
    model = attempt(build, Config.fromfile(anchored))
    if isinstance(model, str):
        return 'host: ' + model if attempt(build, plain) == model else model
    if model.data_preprocessor.mask_prob != MASK_PROB:
        return 'settings ignored'
    if not model.stem:
        return 'built for 2C channels'
    layers = dict(model.backbone.named_modules())
    return {
        (layers[layer].in_channels, layers[layer].weight.shape[1])
        for layer in model.stem
    }


def expected_outcome(name):
    if name in HOST_ERRORS:
        return 'host: ' + HOST_ERRORS[name]
    if name in INNER_PREPROCESSOR:
        return 'ValueError: Expected one `data_preprocessor`, but got one insi'
    if name in REFUSED:
        return 'TypeError: Expected a head with one softmax'
    if name.startswith('t2t_vit/'):
        return 'built for 2C channels'
    return {(2, 2)} if name in OF_ONE_CHANNEL else {(6, 6)}


@pytest.mark.parametrize(
    'folder',
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in FOLDERS
    ],
)
def test_configs_build_with_the_stem_widened(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root.manager, 'disable', logging.WARNING)
    outcomes = {
        name: outcome(name, tmp_path)
        for name in CONFIGS
        if name.startswith(folder + '/')
    }
    classifiers = {k: v for k, v in outcomes.items() if v != 'no classifier'}
    wrong = {
        name: got
        for name, got in classifiers.items()
        if got != expected_outcome(name)
        and not str(got).startswith(str(expected_outcome(name)))
    }
    assert outcomes
    assert not wrong


@pytest.mark.parametrize('name', sorted(INNER_PREPROCESSOR))
def test_the_line_that_the_refusal_writes_works(name, tmp_path):
    anchored = tmp_path / 'anchored.py'
    base = (HOST_CONFIGS / name).as_posix()
    lines = FOUR_LINES.format(base=base, imports=['mmanchor'])
    anchored.write_text(lines.replace('0.25', str(MASK_PROB)))
    with pytest.raises(ValueError, match='Write `model = dict') as caught:
        build(Config.fromfile(anchored))
    line = str(caught.value).split('Write `')[1].split('` and drop')[0]
    kept = [
        text
        for text in lines.splitlines()
        if not text.startswith(('model', 'data_preprocessor'))
    ]
    anchored.write_text('\n'.join([*kept, line]))
    model = build(Config.fromfile(anchored))
    assert model.data_preprocessor.mask_prob == MASK_PROB


def test_the_numbers_in_the_docs():
    page = (DOCS / 'my-backbone.md').read_text()
    classifiers, unloadable = set(), set()
    for name in CONFIGS:
        cfg = attempt(Config.fromfile, HOST_CONFIGS / name)
        if isinstance(cfg, str):
            unloadable.add(name)
        elif cfg.get('model', {}).get('type') == 'ImageClassifier':
            classifiers.add(name)
    unbuilt = {name for name in HOST_ERRORS if name in classifiers} | REFUSED
    # the one line that the refusal writes widens them too
    assert INNER_PREPROCESSOR <= classifiers - unbuilt
    t2t = {name for name in classifiers if name.startswith('t2t_vit/')}
    widened = classifiers - unbuilt - t2t
    assert REFUSED <= classifiers
    assert unloadable == set(HOST_ERRORS) - unbuilt
    assert (len(classifiers), len(widened), len(t2t), len(unbuilt)) == (
        432,
        419,
        3,
        10,
    )
    words = ' '.join(page.split())
    assert 'of the 432 classifiers that load, 419 have' in words


def test_the_matrix_has_every_backbone_of_the_model_index():
    names = mmpretrain.list_models(task='Image Classification')
    loads, errors, backbones = 0, 0, set()
    for name in names:
        try:
            model = ModelHub.get(name).config.model
        except RuntimeError:
            errors += 1  # RepLKNet's, see above
            continue
        if model.type == 'ImageClassifier':
            loads += 1
            backbones.add(model.backbone.type)
    assert (loads, errors) == (440, 4)
    assert backbones == set(MATRIX)
    assert len(MATRIX) == 58
