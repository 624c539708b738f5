import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.builders import image_bytes
from helpers.reference_runs import hook
from helpers.small_models import TwoAnswers  # noqa: F401
from mmengine.config import Config
from mmpretrain import get_model, init_model
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead
from mmpretrain.registry import MODELS

from mmanchor.engine import launch
from mmanchor.export import fold as folded_files
from mmanchor.models import FoldedImageClassifier

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folded(small_config, checkpoint, tmp_path):
    found = folded_files.fold_checkpoint(
        small_config(), checkpoint, tmp_path / 'out'
    )
    assert found.difference < 1e-5
    assert found.images == '5 images of the test set'
    return tmp_path / 'out'


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('api', [get_model, init_model])
def test_mmpretrain_loads_the_folded_model_which_predicts_like_the_anchored_one(
    folded, small_config, checkpoint, api
):
    assert files(folded) == ['folded.pth', 'folded.py']
    plain = api(str(folded / 'folded.py'), str(folded / 'folded.pth'))
    assert type(plain) is FoldedImageClassifier
    assert type(plain.head) is LinearClsHead
    assert type(plain.data_preprocessor) is ClsDataPreprocessor
    assert plain.backbone.conv1.reference_map.abs().max() > 0
    model = get_model(small_config(), checkpoint)
    model.reference_bank.use(1)
    inputs = dict(inputs=image_bytes(4))
    ours, theirs = (
        torch.stack([sample.pred_score for sample in net.test_step(inputs)])
        for net in (plain, model)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert plain._dataset_meta['classes'] == model._dataset_meta['classes']


def test_a_head_with_two_outputs_is_folded(small_config, tmp_path):
    cfg = small_config(**{'model.head.type': 'TwoAnswers'})
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    model.reference_bank.fill(image_bytes(2))
    torch.save(model.state_dict(), tmp_path / 'two.pth')
    found = folded_files.fold_checkpoint(
        cfg, str(tmp_path / 'two.pth'), tmp_path / 'out'
    )
    assert found.difference < 1e-5


def test_it_is_tested_with_the_anchored_model_s_metrics(
    folded, small_config, checkpoint, tmp_path
):
    cfg = small_config(**hook(num_references=3))
    cfg.experiment_name = None
    cfg.dump(tmp_path / 'anchored.py')
    work_dir = ['--work-dir', str(tmp_path / 'tests')]
    anchored = [str(tmp_path / 'anchored.py'), checkpoint]
    expected = launch.test([*anchored, '--num-references', '1', *work_dir])
    plain = [str(folded / 'folded.py'), str(folded / 'folded.pth')]
    name = ['--cfg-options', 'experiment_name=folded']
    found = launch.test([*plain, *work_dir, *name])
    assert found == pytest.approx(expected, rel=1e-4)
    assert {'accuracy/top1', 'calibration/ece'} <= set(found)


def test_a_folded_checkpoint_has_neither_references_nor_training_state(folded):
    saved = torch.load(folded / 'folded.pth', weights_only=True)
    assert set(saved) == {'meta', 'state_dict'}
    assert not any('bank' in key for key in saved['state_dict'])
    assert saved['meta']['dataset_meta']['classes']
    text = (folded / 'folded.py').read_text()
    assert saved['meta']['cfg'] == text
    left = ('Anchor', 'KReference', 'masked_target', 'mask_prob', '_base_')
    assert [word for word in left if word in text] == []


def test_other_hooks_and_imports_are_kept(small_config, checkpoint, tmp_path):
    cfg = small_config(
        custom_hooks=[
            dict(type='EMAHook', momentum=0.2),
            dict(type='KReferenceHook'),
        ],
        custom_imports=dict(
            imports='helpers.builders', allow_failed_imports=False
        ),
    )
    folded_files.fold_checkpoint(cfg, checkpoint, tmp_path / 'out')
    written = Config.fromfile(tmp_path / 'out/folded.py')
    assert [hook.type for hook in written.custom_hooks] == ['EMAHook']
    assert written.custom_imports.imports == ['helpers.builders', 'mmanchor']
    written.custom_imports.imports = ['mmanchor']
    metrics = []
    for hooks in (written.custom_hooks, []):  # the first loads a copy too
        written.custom_hooks = hooks
        written.experiment_name = f'folded_{len(hooks)}'
        written.dump(tmp_path / 'written.py')
        files_of_it = ['written.py', 'out/folded.pth']
        argv = [str(tmp_path / name) for name in files_of_it]
        metrics.append(launch.test(argv))
    assert metrics[0] == metrics[1] != {}


@pytest.mark.parametrize('name', ['', 'anchored-masked_'])
def test_other_configs_do_not_take_its_weights(
    folded, small_config, tmp_path, name
):
    small_config(name).dump(tmp_path / 'other.py')
    with pytest.raises(ValueError, match='without reference maps.*folded.py'):
        launch.test([str(tmp_path / 'other.py'), str(folded / 'folded.pth')])


def test_no_file_is_written_if_predictions_differ(
    small_config, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(folded_files, 'relative_difference', lambda *_: 2e-4)
    with pytest.raises(ValueError, match='folded model to answer .* 2.0e-04'):
        folded_files.fold_checkpoint(
            small_config(), checkpoint, tmp_path / 'out'
        )
    assert not (tmp_path / 'out').exists()


def test_the_tool_says_what_it_wrote(
    small_config, checkpoint, tmp_path, monkeypatch, capsys
):
    small_config().dump(tmp_path / 'config.py')
    words = [tmp_path / 'config.py', checkpoint, tmp_path / 'out']
    options = ['--cfg-options', 'test_dataloader.dataset.indices=3']
    argv = ['fold.py', *map(str, words), *options]
    monkeypatch.setattr(sys, 'argv', argv)
    runpy.run_path(str(ROOT / 'tools/fold.py'), run_name='__main__')
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith('Wrote folded.py and folded.pth to ')
    assert last.endswith('of the largest, on 3 images of the test set.')
    assert files(tmp_path / 'out') == ['folded.pth', 'folded.py']
