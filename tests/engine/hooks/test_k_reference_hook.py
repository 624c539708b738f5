import pytest
import torch
from helpers.reference_runs import (
    TEST_PIPELINE,
    after_test,
    bank,
    hook,
    training_images,
)
from mmcv import imwrite
from mmpretrain.registry import HOOKS

from mmanchor.engine import KReferenceHook


@pytest.mark.parametrize(
    'select,k', [('random', 3), ('per_class', 10), ('mean', 1)]
)
def test_every_checkpoint_carries_references_of_the_training_set(
    run, select, k, tmp_path
):
    runner = run(
        **{'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
        **hook(num_references=k, select=select, seed=4),
    )
    runner.train()
    checkpoint = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    expected = training_images(k, select, seed=4)
    assert torch.equal(
        checkpoint['state_dict']['reference_bank.images'], expected
    )
    assert torch.equal(bank(runner).in_use, expected)


def test_fewer_references_are_the_first_ones_of_the_bank(run, checkpoint):
    runner, _ = after_test(
        run,
        checkpoint,
        **hook(num_references=2),
        **{
            'train_dataloader': None,
            'train_cfg': None,
            'optim_wrapper': None,
            'param_scheduler': None,
        },
    )  # no training data at hand
    assert torch.equal(bank(runner).in_use, training_images(3)[:2])


def test_same_checkpoint_same_answer_whatever_the_hook_s_seed(run, checkpoint):
    first, metrics = after_test(run, checkpoint, **hook(num_references=3))
    second, again = after_test(
        run, checkpoint, **hook(num_references=3, seed=9)
    )
    assert metrics == again
    assert torch.equal(bank(first).images, bank(second).images)


def test_more_references_are_drawn_anew(run, checkpoint):
    runner, _ = after_test(run, checkpoint, **hook(num_references=5))
    assert torch.equal(bank(runner).in_use, training_images(5))


def test_redraw_on_request(run, checkpoint):
    runner, _ = after_test(
        run, checkpoint, **hook(num_references=3, seed=7, redraw=True)
    )
    assert torch.equal(bank(runner).in_use, training_images(3, seed=7))


def test_a_checkpoint_without_bank(run, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    del saved['state_dict']['reference_bank.images']
    torch.save(saved, checkpoint)
    runner, _ = after_test(run, checkpoint, **hook(num_references=2))
    assert torch.equal(bank(runner).in_use, training_images(2))
    with pytest.raises(ValueError, match='no reference bank. Add `KRef'):
        after_test(run, checkpoint, custom_hooks=[])


def test_no_training_data_and_too_few_references(run, checkpoint):
    gone = {
        'train_dataloader.dataset': dict(
            _delete_=True,
            type='CustomDataset',
            data_root='/nowhere',
            pipeline=[],
        ),
    }
    with pytest.raises(
        ValueError,
        match='training set could not be read.*lower `num_references`',
    ):
        after_test(run, checkpoint, **hook(num_references=5), **gone)
    with pytest.raises(ValueError, match='`train_dataloader` in the config'):
        after_test(
            run,
            checkpoint,
            **hook(num_references=5),
            **dict.fromkeys(
                (
                    'train_dataloader',
                    'train_cfg',
                    'optim_wrapper',
                    'param_scheduler',
                )
            ),
        )


def test_a_folder_of_images_as_source(run, tmp_path):
    images = training_images(4)
    for i, image in enumerate(images):
        imwrite(image.permute(1, 2, 0).numpy(), str(tmp_path / f'f/{i}.png'))
    loading = dict(type='LoadImageFromFile')
    runner = run(
        **{'train_cfg.max_epochs': 1},
        **hook(
            num_references=4,
            source=dict(
                type='CustomDataset',
                data_root=str(tmp_path / 'f'),
                with_label=False,
                pipeline=[loading, *TEST_PIPELINE],
            ),
        ),
    )
    runner.train()
    assert sorted(
        image.sum().item() for image in bank(runner).images
    ) == sorted(image.sum().item() for image in images)


def test_a_folder_goes_through_the_test_pipeline(run, tmp_path):
    folder = tmp_path / 'f'
    for i, image in enumerate(training_images(4)):
        imwrite(image.permute(1, 2, 0).numpy(), str(folder / f'{i}.png'))
    runner = run(
        **{'train_cfg.max_epochs': 1},
        **hook(num_references=2, source=str(folder)),
    )
    with pytest.raises(ValueError, match='has no LoadImageFromFile.*Custom'):
        runner.train()
    runner.cfg.val_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        *TEST_PIPELINE,
    ]
    runner.train()
    assert bank(runner).images.shape == (2, 3, 16, 16)
    runner.cfg.val_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile')
    ]
    with pytest.raises(ValueError, match="got '/nowhere', which is no folde"):
        run(**hook(source='/nowhere')).train()
    with pytest.raises(ValueError, match='`source` could not be read'):
        run(
            **hook(
                source=dict(
                    type='CustomDataset',
                    data_root=str(tmp_path / 'none'),
                    with_label=False,
                )
            )
        ).train()


def test_more_references_than_images_are_refused_before_training(run):
    with pytest.raises(ValueError, match='at most 50 references.*got 51'):
        run(**hook(num_references=51)).train()


def test_validation_without_training_sets_k(run, checkpoint):
    runner = run(load_from=checkpoint, **hook(num_references=2))
    runner.val()
    assert torch.equal(bank(runner).in_use, training_images(3)[:2])


def test_references_of_another_size_are_refused_before_training(run):
    small = [dict(type='Resize', scale=12), dict(type='PackInputs')]
    runner = run(**hook(source=dict(type='Digits', pipeline=small)))
    with pytest.raises(ValueError, match=r'\(3, 16, 16\), but got \(3, 12, 1'):
        runner.train()
    assert runner.iter == 0


def test_batches_of_one_are_refused_before_training(run):
    runner = run(**{'train_dataloader.batch_size': 1})
    with pytest.raises(ValueError, match='`batch_size` of at least 2.*got 1'):
        runner.train()
    assert runner.iter == 0
    run(
        data_preprocessor=dict(references=dict(type='ReferenceSet')),
        **{
            'train_dataloader.batch_size': 1,
            'train_dataloader.dataset.indices': 3,
            'train_cfg.max_epochs': 1,
        },
        **hook(),
    ).train()


def test_anchoring_data_for_a_plain_model_is_refused(run):
    runner = run(model=dict(type='ImageClassifier'))
    with pytest.raises(
        TypeError,
        match='got ImageClassifier, whose Anchoring'
        "DataPreprocessor would.*model = dict.type='Anchored",
    ):
        runner.train()
    with pytest.raises(TypeError, match='got ImageClassifier. Set'):
        run('', **hook()).train()


def test_plain_data_for_an_anchored_model_is_refused(run):
    with pytest.raises(TypeError, match='to be an AnchoringDataPreprocessor'):
        run(
            '',
            model=dict(type='AnchoredImageClassifier'),
            data_preprocessor=dict(type='ClsDataPreprocessor'),
            **hook(),
        )


def test_a_missing_test_pipeline_is_refused(run):
    runner = run(
        **dict.fromkeys(
            (
                'val_dataloader',
                'val_cfg',
                'val_evaluator',
                'test_dataloader',
                'test_cfg',
                'test_evaluator',
            )
        )
    )
    with pytest.raises(
        ValueError, match='for references, but got none.*Or set `source'
    ):
        runner.train()


@pytest.mark.parametrize('k', [0, -1, 1.5, True, '3'])
def test_bad_num_references(k):
    with pytest.raises(ValueError, match=f'positive integer, but got {k!r}'):
        KReferenceHook(num_references=k)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="'per_class' or 'mean', but got 'b'"):
        KReferenceHook(select='b')
    with pytest.raises(ValueError, match='mean is one image, but got 2'):
        KReferenceHook(num_references=2, select='mean')
    with pytest.raises(TypeError, match='non-negative integer.*-1'):
        KReferenceHook(seed=-1)
    with pytest.raises(TypeError, match='num_reference'):
        HOOKS.build(dict(type='KReferenceHook', num_reference=2))


def test_settings_that_a_runner_would_ignore_are_refused(run):
    runner = run(
        **{
            'model.data_preprocessor': dict(mean=[0.0], std=[255.0]),
            'data_preprocessor.mask_prob': 0.9,
        }
    )
    with pytest.raises(ValueError, match='mask_prob=0.9.*would be ignored'):
        runner.train()
