"""Where references come from, however a config names it."""

from collections import OrderedDict

import mmengine.registry
import mmpretrain.registry
import numpy as np
import pytest
import torch
from helpers.reference_runs import (
    TEST_PIPELINE,
    after_training,
    bank,
    hook,
    training_images,
)
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from mmpretrain.registry import DATASETS
from PIL import Image
from torch.utils.data import Subset

from mmanchor.datasets import Digits
from mmanchor.engine.reference_source import source_dataset

ELSEWHERE = Registry(
    'dataset', parent=mmengine.registry.DATASETS, scope='elsewhere'
)


@ELSEWHERE.register_module()
class DigitsFromElsewhere(Digits):
    """Only a config with ``default_scope='elsewhere'`` finds it."""


@DATASETS.register_module()
class TorchDigits(torch.utils.data.Dataset):
    """The digits as torchvision would give them."""

    classes = [str(digit) for digit in range(10)]
    root = 'somewhere'

    def __init__(self, indices=50, transform=None, packed=False):
        self.digits = Digits(pipeline=[], indices=indices)
        self.transform = transform or (lambda image: image)
        self.packed = packed

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        item = self.digits[index]
        if self.packed:
            return dict(inputs=torch.full((3, 16, 16), index).byte())
        return self.transform(Image.fromarray(item['img'])), item['gt_label']


@DATASETS.register_module()
def part_of_torch_digits(indices):
    """A wrapper of PyTorch's, from a function."""
    return Subset(TorchDigits(), indices)


@pytest.mark.parametrize('source', [None, dict(type='Digits', split='train')])
def test_a_source_is_found_outside_of_a_run(small_config, source, monkeypatch):
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    assert DefaultScope.get_current_instance() is None
    dataset = source_dataset(small_config(), source)
    assert dataset[0]['inputs'].dtype == torch.uint8


def scoped(config, names):
    """A config whose types of MMPretrain say that they are."""
    if isinstance(config, dict):
        config = {key: scoped(value, names) for key, value in config.items()}
        if config.get('type') in names:
            config['type'] = 'mmpretrain.' + config['type']
        return config
    if isinstance(config, (list, tuple)):
        return [scoped(value, names) for value in config]
    return config


@pytest.mark.parametrize('source', [None, dict(type='DigitsFromElsewhere')])
def test_a_run_with_another_default_scope_is_the_same(run, source):
    of_host, of_all = (
        {
            name
            for registry in vars(package).values()
            if isinstance(registry, Registry)
            for name in registry.module_dict
        }
        for package in (mmpretrain.registry, mmengine.registry)
    )
    names = of_host - of_all
    runs = []
    for elsewhere in (False, True):
        own = source if elsewhere else source and dict(type='Digits')
        runner = run(
            epochs=1,
            validate_every=1,
            **hook(num_references=4, protocol='adaptive', source=own),
        )
        if elsewhere:
            cfg = scoped(runner.cfg.to_dict(), names)
            cfg['train_dataloader']['dataset']['type'] = 'DigitsFromElsewhere'
            cfg['default_scope'] = 'elsewhere'
            cfg['experiment_name'] = runner.experiment_name + '_elsewhere'
            runner = type(runner).from_cfg(Config(cfg))
        runner.train()
        runs.append(runner)
    plain, other = runs
    assert torch.equal(bank(plain).images, bank(other).images)
    assert other.message_hub.get_scalar('val/references/mean_used').current()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


@pytest.mark.parametrize('select', ['random', 'per_class', 'mean'])
def test_a_pytorch_dataset_is_read_through_the_test_pipeline(run, select):
    source = dict(type='TorchDigits')
    options = hook(num_references=1, select=select, source=source)
    runner = after_training(run, epochs=1, **options)
    assert torch.equal(bank(runner).images, training_images(1, select))


def test_channels_are_in_the_order_that_the_pipeline_expects():
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    cfg = Config(
        dict(
            test_dataloader=dict(dataset=dict(pipeline=pipeline)),
            data_preprocessor=dict(to_rgb=True),
        )
    )
    red = Image.new('RGB', (4, 4), 'red')

    @DATASETS.register_module(force=True)
    class RedImages(list):
        def __init__(self):
            super().__init__([red])

    for to_rgb, channel in ((True, 2), (False, 0)):
        cfg.data_preprocessor.to_rgb = to_rgb
        image = source_dataset(cfg, dict(type='RedImages'))[0]['inputs']
        assert image[channel].min() == 255 and image.sum() == 16 * 255


@pytest.mark.parametrize(
    'dataset',
    [
        dict(type='TorchDigits'),
        dict(type='TorchDigits', packed=True),
        dict(type='part_of_torch_digits', indices=[*range(9)]),
        dict(type='Digits', indices=9),
    ],
    ids=str,
)
def test_a_reference_set_of_a_dataset_without_a_pipeline(run, dataset):
    references = dict(
        type='ReferenceSet', dataset=dataset, size=3, classes=None
    )
    runner = after_training(
        run,
        epochs=1,
        data_preprocessor=dict(references=references),
        **hook(num_references=2),
    )
    images = runner.model.data_preprocessor.reference_set.images
    assert images.shape == (3, 3, 16, 16)
    drawn = (bank(runner).images[:, None] == images).flatten(2).all(2)
    assert drawn.sum(1).tolist() == [1, 1]


def test_a_reference_set_of_classes_of_a_pytorch_dataset(run):
    references = dict(
        type='ReferenceSet',
        dataset=dict(type='TorchDigits'),
        classes=['3', 4],
        size=2,
    )
    runner = after_training(
        run, epochs=1, data_preprocessor=dict(references=references), **hook()
    )
    preprocessor = runner.model.data_preprocessor
    digits = DATASETS.build(
        dict(type='Digits', indices=50, pipeline=TEST_PIPELINE)
    )
    labels = [
        digits.get_data_info(index)['gt_label']
        for chosen in preprocessor.reference_set.images
        for index in range(len(digits))
        if torch.equal(chosen, digits[index]['inputs'])
    ]
    assert len(labels) == 2 and {*labels} <= {3, 4}


def test_transformed_images_of_a_pytorch_dataset_are_refused(run):
    source = dict(type='TorchDigits', transform=np.asarray)
    with pytest.raises(ValueError, match='got ndarray.*Remove the transforms'):
        run(**hook(source=source)).train()


def test_a_set_without_the_hook_says_what_reads_pytorch_datasets():
    references = DATASETS.build(
        dict(type='ReferenceSet', dataset=dict(type='TorchDigits'))
    )
    with pytest.raises(TypeError, match='got TorchDigits. Add `KReferenceHo'):
        references.images
