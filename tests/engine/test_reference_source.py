"""Where references come from, where no runner has set the scope."""

from collections import OrderedDict

import pytest
import torch
from mmengine.registry import DefaultScope

from mmanchor.engine.reference_source import source_dataset


@pytest.mark.parametrize('source', [None, dict(type='Digits', split='train')])
def test_a_source_is_found_outside_of_a_run(small_config, source, monkeypatch):
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    assert DefaultScope.get_current_instance() is None
    dataset = source_dataset(small_config(), source)
    assert dataset[0]['inputs'].dtype == torch.uint8
