import pytest

from mmanchor.utils.files import whole_files


def test_files_move_in_at_the_end(tmp_path):
    with whole_files(tmp_path / 'a/b') as partial:
        (partial / 'one').write_text('1')
        assert not (tmp_path / 'a/b/one').exists()
    assert [path.name for path in (tmp_path / 'a/b').iterdir()] == ['one']


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / 'one').write_text('old')
    with pytest.raises(RuntimeError), whole_files(tmp_path) as partial:
        (partial / 'one').write_text('half')
        raise RuntimeError
    assert (tmp_path / 'one').read_text() == 'old'
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_leaves_no_folder_that_was_not_there(tmp_path):
    with pytest.raises(RuntimeError), whole_files(tmp_path / 'new') as partial:
        (partial / 'one').write_text('half')
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='folder that can be.*file/new.*Name'):
        with whole_files(tmp_path / 'file/new'):
            pass
