"""What every test starts from."""
import warnings

import pytest
import torch

warnings.filterwarnings('ignore', message='.*MultiScaleDeformableAttention')

from mmengine.registry import init_default_scope  # noqa: E402

import mmanchor  # noqa: E402, F401


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
