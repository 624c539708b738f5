"""Images of other than three channels, from a dataset to a prediction."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner, load_checkpoint
from mmpretrain.registry import DATASETS, MODELS

from mmanchor.functional import anchor

CONFIG = """
custom_imports = dict(imports=['mmanchor'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(
    type='{kind}',
    backbone=dict(type='ResNet_CIFAR', depth=18, in_channels={channels},
                  stem_channels=16, base_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=128))
data_preprocessor = dict(mean=[100.] * {channels}, std=[50.] * {channels})
train_dataloader = dict(
    batch_size=8,
    dataset=dict(type='ManyChannels', channels={channels}),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = train_dataloader
val_evaluator = dict(type='Accuracy', topk=1)
val_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
log_level = 'ERROR'
"""
ANCHORED = """
data_preprocessor.update(type='AnchoringDataPreprocessor', mask_prob=0.25)
custom_hooks = [dict(type='KReferenceHook', num_references=2)]
"""


@DATASETS.register_module()
class ManyChannels(BaseDataset):
    """Noise of two classes."""

    def __init__(self, channels):
        self.channels = channels
        super().__init__(pipeline=[dict(type='PackInputs')])

    def load_data_list(self):
        rng = np.random.default_rng(0)
        shape = (16, 8, 8, self.channels)
        images = rng.integers(256, size=shape, dtype=np.uint8)
        return [
            dict(img=image, gt_label=i % 2) for i, image in enumerate(images)
        ]


def config(kind, channels, more=''):
    text = CONFIG.format(kind=kind, channels=channels) + more
    return Config.fromstring(text, '.py')


# 16 and 32 are the widths of layers further on, too
@pytest.mark.parametrize('channels', [1, 2, 13, 16, 32])
def test_a_run_with_images_of_other_channels(channels, tmp_path):
    cfg = config('AnchoredImageClassifier', channels, ANCHORED)
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.image_channels == channels
    assert runner.model.stem == ['conv1']
    assert runner.model.reference_bank.in_use.shape == (2, channels, 8, 8)
    images = torch.randint(256, (3, channels, 8, 8), dtype=torch.uint8)
    samples = runner.model.eval().test_step(dict(inputs=images))
    assert len(samples) == 3

    # and the exact start from a plain model's
    plain = MODELS.build(config('ImageClassifier', channels).model).eval()
    torch.save(dict(state_dict=plain.state_dict()), tmp_path / 'plain.pth')
    load_checkpoint(runner.model, str(tmp_path / 'plain.pth'))
    images, references = torch.randn(2, 3, channels, 8, 8)
    torch.testing.assert_close(
        runner.model(anchor(images, references)),
        plain(images),
        rtol=1e-4,
        atol=1e-5,
    )
