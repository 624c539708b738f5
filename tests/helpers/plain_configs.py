"""Configs to analyse: fixtures for conftest files."""

import pytest

SMALL = """
model = dict(
    type='ImageClassifier',
    backbone=dict(type='{backbone}', depth=18, stem_channels=8,
                  base_channels=8, {arguments}),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=64))
data_preprocessor = dict(mean=[127.5] * 3, std=[64.] * 3)
"""


@pytest.fixture
def plain_config(tmp_path):
    """Write a small plain config."""

    def write(backbone='ResNet_CIFAR', arguments='', more=''):
        path = tmp_path / 'plain.py'
        path.write_text(
            SMALL.format(backbone=backbone, arguments=arguments) + more
        )
        return path

    return write
