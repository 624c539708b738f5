import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.builders import image_bytes
from helpers.reference_runs import TEST_PIPELINE, hook
from helpers.small_models import BACKBONES, build, built_for_2c
from mmpretrain.registry import DATASETS

from mmanchor.export import onnx as exporting
from mmanchor.export.onnx import export_checkpoint, export_model

ROOT = Path(__file__).parents[2]
SWIN_V2 = (
    dict(
        type='SwinTransformerV2',
        arch=dict(
            embed_dims=16,
            depths=[2, 1],
            num_heads=[1, 2],
            extra_norm_every_n_blocks=0,
        ),
        img_size=32,
        window_size=[4, 4],
        out_indices=(1,),
    ),
    'GlobalAveragePooling',
    32,
)
RESNET = (
    dict(
        type='ResNet',
        depth=18,
        stem_channels=8,
        base_channels=8,
        out_indices=(1,),
    ),
    'GlobalAveragePooling',
    16,
)


def run_file(path):
    """What runs an exported file."""
    if path.suffix == '.pt2':
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )
    assert [i.name for i in session.get_inputs()] == ['images']
    assert [o.name for o in session.get_outputs()] == ['logits']
    return lambda images: torch.from_numpy(
        session.run(None, {'images': images.numpy()})[0]
    )


def close(found, expected):
    return (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    'suffix,k,pixels',
    [
        ('.onnx', 1, False),
        ('.onnx', 3, True),
        ('.pt2', 1, True),
        ('.pt2', 3, False),
    ],
)
@torch.no_grad()
def test_an_exported_file_predicts_like_the_checkpoint_on_digits(
    small_config, checkpoint, tmp_path, suffix, k, pixels
):
    cfg = small_config(**{'data_preprocessor.to_rgb': True})
    path = tmp_path / f'out/model{suffix}'
    found, images = export_checkpoint(
        cfg, checkpoint, path, num_references=k, pixels=pixels
    )
    assert found.difference < 1e-5
    assert found.images == '5 images of the test set'
    assert images.startswith(
        f'(batch, 3, 16, 16), {"uint8, pix" if pixels else "float32, norm"}'
    )
    assert list(path.parent.iterdir()) == [path]

    model, _ = exporting.load_anchored(cfg, checkpoint)
    model.reference_bank.use(k)
    digits = DATASETS.build(
        dict(type='Digits', split='test', indices=7, pipeline=TEST_PIPELINE)
    )
    inputs = torch.stack([digit['inputs'] for digit in digits])
    inputs[:, 0] += 9  # so that the order of channels matters
    normalised = model.data_preprocessor(dict(inputs=inputs))['inputs']
    expected = model(normalised)
    run = run_file(path)
    for size in (1, 2, 4, 7):
        batch = (inputs if pixels else normalised)[:size]
        assert close(run(batch), expected[:size])


@pytest.mark.parametrize(
    'name,k,suffix',
    [
        ('patches', 2, '.onnx'),
        ('padded patches', 1, '.pt2'),
        ('resnet', 1, '.pt2'),
        ('two branches', 3, '.pt2'),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ('padded patches', 2, '.onnx'),
                ('adaptive padding', 3, '.pt2'),
                ('swin v2', 3, '.pt2'),
            )
        ),
    ],
)
def test_backbones_of_all_kinds(name, k, suffix, tmp_path, monkeypatch):
    monkeypatch.setitem(BACKBONES, 'swin v2', SWIN_V2)
    monkeypatch.setitem(BACKBONES, 'resnet', RESNET)
    model = build(name, k=k, average='probabilities')
    path = tmp_path / f'model{suffix}'
    images = image_bytes(5, size=32, seed=3)
    assert export_model(model, path, images) < 1e-5
    with torch.no_grad():
        x = model.data_preprocessor(dict(inputs=images))['inputs']
        assert close(run_file(path)(x), model(x))


@pytest.fixture(scope='module', params=[('.onnx', 18), ('.pt2', None)])
def exported(request, tmp_path_factory):
    """A model, the images it was traced with, and its file."""
    suffix, opset = request.param
    model = build('convolution', k=2)
    path = tmp_path_factory.mktemp('exported') / f'model{suffix}'
    images = image_bytes(5, size=32, seed=3)
    export_model(model, path, images, opset, pixels=True)
    return model, images, path


@pytest.mark.parametrize(
    'exported', [('.onnx', 18), ('.onnx', 21)], indirect=True
)
def test_opsets(exported, request):
    import onnx

    (imported,) = onnx.load(exported[-1]).opset_import
    assert imported.version in request.node.callspec.params['exported']


def test_neither_references_nor_images_are_in_the_file(exported):
    model, images, path = exported
    content = path.read_bytes()
    packed = torch.cat([model.reference_bank.images, images])
    for image in (
        *packed,
        *model.data_preprocessor(dict(inputs=packed))['inputs'],
    ):
        assert image.numpy().tobytes()[:64] not in content
    # what is there is found that way
    weight = model.head.fc.weight.detach().numpy().tobytes()
    assert weight[:64] in content


def test_a_file_takes_images_of_the_references_size_only(exported):
    run = run_file(exported[-1])
    for size in ((20, 16), (32, 48)):
        with pytest.raises(
            Exception, match=r'size\(\)\[[23]\] == 32|invalid dim'
        ):
            run(torch.zeros(1, 3, *size, dtype=torch.uint8))


def test_a_model_in_training_mode_is_not_changed(tmp_path):
    model = build('convolution', k=1).train()
    before = {key: x.clone() for key, x in model.state_dict().items()}
    export_model(model, tmp_path / 'model.pt2', image_bytes(5, 32))
    assert model.training
    assert all(
        torch.equal(x, before[k]) for k, x in model.state_dict().items()
    )


@pytest.mark.parametrize('k', [1, 2])
def test_a_head_with_two_outputs_is_exported(tmp_path, k):
    model = build('convolution', k=k, head='TwoAnswers')
    found = export_model(model, tmp_path / 'model.pt2', image_bytes(5, 32))
    assert found < 1e-5


def test_calibrated_averages_are_exported(tmp_path):
    model = build('convolution', k=3, average='calibrated')
    images = image_bytes(5, 32)
    assert export_model(model, tmp_path / 'model.pt2', images) < 1e-5
    with torch.no_grad():
        x = model.data_preprocessor(dict(inputs=images))['inputs']
        assert close(run_file(tmp_path / 'model.pt2')(x), model(x))


@pytest.mark.parametrize(
    'out,kwargs,message',
    [
        ('model.onnx', dict(opset=17), 'at least 18, .* got 17. Raise `ops'),
        ('model.onnx', dict(opset=99), 'opset 99, but got 18. Change .opset'),
        ('model.pt2', dict(opset=20), r'ends in .onnx, .*pt2.*Omit .opset'),
        ('model.pt', {}, r"\.onnx .* or \.pt2 .*got '.*model.pt'. Change it"),
        ('model', {}, 'Change its ending'),
        ('model.pt2', dict(batch_size=1), 'at least 2 to trace.*got 1. Raise'),
        ('model.pt2', dict(num_references=4), r'in \[1, 3\].*got 4. Lower it'),
        ('model.pt2', dict(num_references=0), r'in \[1, 3\].*but got 0'),
    ],
)
def test_arguments_out_of_range_are_refused_by_the_check(
    small_config, checkpoint, tmp_path, out, kwargs, message
):
    kwargs = {'num_references': 1, **kwargs}
    with pytest.raises(ValueError, match=message):
        export_checkpoint(
            small_config(), checkpoint, tmp_path / 'out' / out, **kwargs
        )
    assert not (tmp_path / 'out').exists()


def test_k_defaults_to_that_of_the_config(
    small_config, checkpoint, tmp_path, monkeypatch
):
    used = []

    def note(model, *_):
        used.append(len(model.reference_bank.in_use))
        return 0.0

    monkeypatch.setattr(exporting, 'export_model', note)
    for options in (hook(num_references=2), dict(custom_hooks=[])):
        cfg = small_config(**options)
        export_checkpoint(cfg, checkpoint, tmp_path / 'model.pt2')
    assert used == [2, 3]


@pytest.mark.parametrize('package', ['onnx', 'onnxscript', 'onnxruntime'])
def test_a_missing_package_names_the_extra(
    without_package, small_config, checkpoint, tmp_path, package
):
    without_package(package)
    with pytest.raises(ImportError, match=r'pip install "mmanchor\[export\]"'):
        export_checkpoint(small_config(), checkpoint, tmp_path / 'model.onnx')
    export_checkpoint(small_config(), checkpoint, tmp_path / 'model.pt2', 1)


@pytest.mark.parametrize('name', ['adaptive', 'transduction'])
def test_a_protocol_that_depends_on_the_image_is_refused(
    small_config, checkpoint, tmp_path, name
):
    message = f"but got '{name}', where.* depend on the image. Set `proto"
    model = build('convolution', k=3)
    model.protocol = name
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path / 'model.pt2', image_bytes(5, 32))
    cfg = small_config(**hook(protocol=name))
    with pytest.raises(ValueError, match=message):
        export_checkpoint(cfg, checkpoint, tmp_path / 'model.pt2', 3)
    assert not list(tmp_path.glob('model*'))


@torch.no_grad()
def test_a_config_of_a_single_reference_exports_the_first(
    small_config, checkpoint, tmp_path
):
    cfg = small_config(**hook(num_references=3, protocol='single'))
    export_checkpoint(cfg, checkpoint, tmp_path / 'model.pt2')
    model, _ = exporting.load_anchored(cfg, checkpoint)
    model.protocol = 'single'
    images = torch.randn(4, 3, 16, 16)
    assert close(run_file(tmp_path / 'model.pt2')(images), model(images))


def test_a_backbone_built_for_2c_channels_is_refused(tmp_path):
    with pytest.raises(ValueError, match='T2T_ViT was built for 6 channels'):
        export_model(
            built_for_2c(), tmp_path / 'model.pt2', torch.randn(5, 3, 32, 32)
        )


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_a_backbone_that_cannot_be_traced_is_refused_with_the_reason(
    tmp_path, suffix
):
    model = build('convolution', k=1)

    class Counting(type(model.backbone)):
        def forward(self, x):
            return super().forward(x if int(x.size(0)) == 2 else x + 1)

    model.backbone.__class__ = Counting
    with pytest.raises(
        ValueError,
        match='(?s)any size, but got Counting.*specialized.*Use the model',
    ):
        export_model(model, tmp_path / f'model{suffix}', image_bytes(5, 32))
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_or_predicts_differently_is_not_there(
    tmp_path, monkeypatch
):

    def fail(*_, **__):
        raise RuntimeError('no such operator')

    model, images = build('convolution', k=1), image_bytes(5, 32)
    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(
        ValueError, match='can run, but got: no such operator\nChange `opset`'
    ):
        export_model(model, tmp_path / 'model.onnx', images)
    monkeypatch.setattr(exporting, 'relative_difference', lambda *_: 3e-4)
    with pytest.raises(ValueError, match='model.pt2 to answer.*3.0e-04'):
        export_model(model, tmp_path / 'model.pt2', images)
    assert not list(tmp_path.iterdir())


def test_the_tool_says_what_it_wrote(
    small_config, checkpoint, tmp_path, monkeypatch, capsys
):
    small_config().dump(tmp_path / 'config.py')
    words = [tmp_path / 'config.py', checkpoint, tmp_path / 'model.pt2']
    flags = ['--num-references', '2', '--pixels']
    monkeypatch.setattr(sys, 'argv', ['export.py', *map(str, words), *flags])
    runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')
    last = capsys.readouterr().out.splitlines()[-1]
    assert 'input `images` (batch, 3, 16, 16), uint8, pixels' in last
    assert 'on 5 images of the test set' in last
    assert (tmp_path / 'model.pt2').is_file()
