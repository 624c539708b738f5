import pytest
import torch
from helpers.reference_runs import (
    NO_TRAINING_SET,
    NO_VALIDATION,
    TEST_PIPELINE,
    after_test,
    after_training,
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
    runner = after_training(
        run,
        epochs=1,
        validate_every=1,
        **hook(num_references=k, select=select, seed=4),
    )
    checkpoint = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    saved = checkpoint['state_dict']['reference_bank.images']
    expected = training_images(k, select, seed=4)
    assert torch.equal(saved, expected)
    assert torch.equal(bank(runner).in_use, expected)


def test_fewer_references_are_the_first_ones_of_the_bank(run, checkpoint):
    two = hook(num_references=2)
    runner, _ = after_test(run, checkpoint, **two, **NO_TRAINING_SET)
    assert torch.equal(bank(runner).in_use, training_images(3)[:2])
    runner = run(load_from=checkpoint, **two)
    runner.val()  # without training
    assert torch.equal(bank(runner).in_use, training_images(3)[:2])


def test_same_checkpoint_same_answer_whatever_the_hook_s_seed(run, checkpoint):
    first, metrics = after_test(run, checkpoint, **hook(num_references=3))
    second, again = after_test(
        run, checkpoint, **hook(num_references=3, seed=9)
    )
    assert metrics == again
    assert torch.equal(bank(first).images, bank(second).images)


@pytest.mark.parametrize(
    'k,options', [(5, {}), (3, dict(seed=7, redraw=True))]
)
def test_more_references_are_drawn_anew_and_others_on_request(
    run, checkpoint, k, options
):
    runner, _ = after_test(
        run, checkpoint, **hook(num_references=k, **options)
    )
    seed = options.get('seed', 0)
    assert torch.equal(bank(runner).in_use, training_images(k, seed=seed))


def test_a_checkpoint_without_bank(run, checkpoint):
    saved = torch.load(checkpoint, weights_only=False)
    del saved['state_dict']['reference_bank.images']
    torch.save(saved, checkpoint)
    runner, _ = after_test(run, checkpoint, **hook(num_references=2))
    assert torch.equal(bank(runner).in_use, training_images(2))
    with pytest.raises(ValueError, match='no reference bank. Add `KRef'):
        after_test(run, checkpoint, custom_hooks=[])


def test_no_training_data_and_too_few_references(run, checkpoint):
    five = hook(num_references=5)
    gone = dict(
        _delete_=True, type='CustomDataset', data_root='/nowhere', pipeline=[]
    )
    with pytest.raises(
        ValueError,
        match='training set could not be read.*lower `num_references`',
    ):
        after_test(
            run, checkpoint, **five, **{'train_dataloader.dataset': gone}
        )
    with pytest.raises(ValueError, match='`train_dataloader` in the config'):
        after_test(run, checkpoint, **five, **NO_TRAINING_SET)


def test_a_folder_of_images_as_source(run, tmp_path):
    folder = tmp_path / 'f'
    images = training_images(4)
    for i, image in enumerate(images):
        imwrite(image.permute(1, 2, 0).numpy(), str(folder / f'{i}.png'))
    pipeline = [dict(type='LoadImageFromFile'), *TEST_PIPELINE]
    own_pipeline = dict(
        type='CustomDataset',
        data_root=str(folder),
        with_label=False,
        pipeline=pipeline,
    )
    four = dict(num_references=4)
    runner = after_training(run, epochs=1, **hook(**four, source=own_pipeline))
    sums = {image.sum().item() for image in images}
    assert {image.sum().item() for image in bank(runner).images} == sums
    runner = run(epochs=1, **hook(**four, source=str(folder)))
    with pytest.raises(ValueError, match='has no LoadImageFromFile.*Custom'):
        runner.train()
    runner.cfg.val_dataloader.dataset.pipeline = pipeline
    runner.train()
    assert {image.sum().item() for image in bank(runner).images} == sums


def test_sources_that_are_not_there_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="got '/nowhere', which is no folde"):
        run(**hook(source='/nowhere')).train()
    missing = dict(
        type='CustomDataset',
        data_root=str(tmp_path / 'none'),
        with_label=False,
    )
    with pytest.raises(ValueError, match='`source` could not be read'):
        run(**hook(source=missing)).train()


def test_more_references_than_images_are_refused_before_training(run):
    with pytest.raises(ValueError, match='at most 50 references.*got 51'):
        run(**hook(num_references=51)).train()


def test_references_of_another_size_are_refused_before_training(run):
    small = [dict(type='Resize', scale=12), dict(type='PackInputs')]
    runner = run(**hook(source=dict(type='Digits', pipeline=small)))
    with pytest.raises(ValueError, match=r'\(3, 16, 16\), but got \(3, 12, 1'):
        runner.train()
    assert runner.iter == 0


def test_batches_of_one_are_refused_before_training(run):
    one = {'train_dataloader.batch_size': 1}
    runner = run(**one)
    with pytest.raises(ValueError, match='`batch_size` of at least 2.*got 1'):
        runner.train()
    assert runner.iter == 0
    run(
        data_preprocessor=dict(references=dict(type='ReferenceSet')),
        epochs=1,
        **{**one, 'train_dataloader.dataset.indices': 3},
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
    with pytest.raises(
        ValueError, match='for references, but got none.*Or set `source'
    ):
        run(**NO_VALIDATION).train()


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
