"""What is kept on disk comes back whole, or is measured again."""

import numpy as np
import pytest

from mmanchor.suite.cache import ResultStore

SETTINGS = dict(a=1)


@pytest.fixture
def parts(tmp_path):
    made = ResultStore(tmp_path)
    made.keep('one', SETTINGS, dict(top1=5.0), dict(msp=np.arange(3.0)))
    return made


def test_results_come_back(parts):
    result, arrays = parts.get('one', SETTINGS)
    assert result == dict(top1=5.0)
    assert arrays['msp'].tolist() == [0, 1, 2]
    assert parts.get('one', dict(a=2)) is None


@pytest.mark.parametrize('suffix', ['json', 'npz'])
@pytest.mark.parametrize('content', [b'', b'\xff\x00', b'{', b'[]', b'null'])
def test_what_is_damaged_is_as_good_as_not_there(
    parts, tmp_path, suffix, content
):
    (path,) = tmp_path.glob(f'*.{suffix}')
    path.write_bytes(content)
    assert parts.get('one', SETTINGS) is None
    parts.keep('one', SETTINGS, dict(top1=6.0))
    assert parts.get('one', SETTINGS)[0] == dict(top1=6.0)


def test_a_flipped_bit_in_scores_is_seen(parts, tmp_path):
    (path,) = tmp_path.glob('*.npz')
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(3.0).tobytes()) + 9] ^= 1
    path.write_bytes(data)
    assert parts.get('one', SETTINGS) is None


def test_scores_that_are_gone_are_measured_again(parts, tmp_path):
    (path,) = tmp_path.glob('*.npz')
    path.unlink()
    assert parts.get('one', SETTINGS) is None
