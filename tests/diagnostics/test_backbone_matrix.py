"""The promise: any backbone. Minutes, hence apart: ``-m "not matrix"``."""
import pytest

from mmanchor.diagnostics.backbone_check import check_backbone
from mmanchor.diagnostics.backbone_matrix import HOST_CONFIGS, MATRIX


@pytest.mark.matrix
@pytest.mark.parametrize('name', MATRIX)
def test_a_backbone_is_anchored_and_starts_exactly(name):
    entry = MATRIX[name]
    report = check_backbone(
        HOST_CONFIGS / entry.config, entry.size, options=entry.options)
    assert report.failure is None
    assert report.backbone == name
    starts_exactly = report.warm_start_error is not None
    assert starts_exactly == bool(report.stem) == (name != 'T2T_ViT')
    # Vig joins nearest neighbours, which rounding may change
    assert (report.warm_start_error or 0) < (1e-3 if name == 'Vig' else 1e-5)
