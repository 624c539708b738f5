import pytest
from mmpretrain.registry import DATASETS
from PIL import Image
from torchvision.datasets.imagenette import Imagenette

from mmanchor.datasets import IMAGENET_C_BAR_KINDS, imagenet_wnids

LOAD = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
ALL, SOME_R, SOME_A = (imagenet_wnids(name) for name in ('', 'r', 'a'))
SOME_O = ALL[5:205]


def write(folder, classes, name='an image.JPEG'):
    first = None
    for index, label in enumerate(classes):
        path = folder / label / name
        path.parent.mkdir(parents=True)
        if first is None:
            first = path
            Image.new('RGB', (6, 5), (250, 10, index)).save(path, 'JPEG')
        else:
            path.hardlink_to(first)
    return folder


@pytest.fixture(scope='module')
def thousand(tmp_path_factory):
    """A folder with an image of each of the thousand classes."""
    return write(tmp_path_factory.mktemp('thousand'), ALL)


def build(kind_of_set, root, **kwargs):
    return DATASETS.build(
        dict(type=kind_of_set, data_root=str(root), **kwargs)
    )


def test_indices_are_those_of_the_host_s_classes():
    names = DATASETS.get('ImageNet').METAINFO['classes']
    assert len(ALL) == len(set(ALL)) == len(names) == 1000
    assert list(ALL) == sorted(ALL)
    for wnid, known in Imagenette._WNID_TO_CLASS.items():
        assert names[ALL.index(wnid)].startswith(known[0])


def test_subsets_are_of_the_thousand():
    for some in (SOME_R, SOME_A):
        assert len(set(some)) == 200 and set(some) < set(ALL)
        assert list(some) == sorted(some)
    assert SOME_R != SOME_A
    with pytest.raises(ValueError, match="'', 'a' or 'r', but got 'o'"):
        imagenet_wnids('o')


@pytest.mark.parametrize(
    'name, kind',
    [('ImageNetC', 'glass_blur'), ('ImageNetCBar', 'perlin_noise')],
)
def test_a_kind_and_severity_is_its_folder(name, kind, thousand, tmp_path):
    (tmp_path / kind).mkdir()
    (tmp_path / kind / '3').symlink_to(thousand)
    dataset = build(name, tmp_path, kind=kind, severity=3, pipeline=LOAD)
    assert dataset.get_gt_labels().tolist() == list(range(1000))
    assert dataset.kept_classes == tuple(range(1000))
    assert dataset.metainfo['classes'][0].startswith('tench')
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 5, 6)
    assert sample['inputs'][2].min() > 200  # red is last, as the host loads
    assert sample['data_samples'].img_path.endswith(
        f'{kind}/3/n01440764/an image.JPEG'
    )
    with pytest.raises(FileNotFoundError, match='/4 is not there. Download'):
        build(name, tmp_path, kind=kind, severity=4)
    with pytest.raises(ValueError, match='-C.* has.*but got .ripple'):
        build(name, tmp_path, kind='ripple', severity=1)


def test_part_of_the_classes_if_asked(tmp_path):
    write(tmp_path / 'fog' / '1', ALL[7:9])
    config = dict(kind='fog', severity=1)
    with pytest.raises(ValueError, match=r'1000 in all.*998 missing \(n014'):
        build('ImageNetC', tmp_path, **config)
    dataset = build('ImageNetC', tmp_path, subset=True, **config)
    assert dataset.get_gt_labels().tolist() == [7, 8]
    assert dataset.kept_classes == dataset.metainfo['kept_classes'] == (7, 8)


@pytest.mark.parametrize(
    'name, classes',
    [('ImageNetR', SOME_R), ('ImageNetA', SOME_A), ('ImageNetSketch', ALL)],
)
def test_labels_are_indices_of_the_thousand_classes(
    name, classes, thousand, tmp_path
):
    folder = thousand if classes == ALL else write(tmp_path, classes)
    dataset = build(name, folder, lazy_init=True)
    indices = [ALL.index(wnid) for wnid in classes]
    assert dataset.kept_classes == tuple(indices)
    assert dataset.get_gt_labels().tolist() == indices
    assert len(dataset.metainfo['classes']) == 1000


def test_folders_of_v2_are_indices_not_words(tmp_path):
    dataset = build('ImageNetV2', write(tmp_path, map(str, range(1000))))
    for i in range(1000):
        info = dataset.get_data_info(i)
        assert info['img_path'].split('/')[-2] == str(info['gt_label'])
    assert sorted(dataset.get_gt_labels()) == list(range(1000))


def test_samples_of_o_have_no_class(tmp_path):
    dataset = build('ImageNetO', write(tmp_path, SOME_O))
    assert set(dataset.get_gt_labels()) == {-1} and len(dataset) == 200
    assert dataset.kept_classes == tuple(range(5, 205))


@pytest.mark.parametrize(
    'name, official, layout',
    [
        ('ImageNetC', 'ImageNet-C ', 'KIND/SEVERITY/WNID'),
        ('ImageNetCBar', 'ImageNet-C̄ ', 'KIND/SEVERITY/WNID'),
        ('ImageNetR', 'ImageNet-R ', 'WNID'),
        ('ImageNetA', 'ImageNet-A ', 'WNID'),
        ('ImageNetSketch', 'ImageNet-Sketch ', 'WNID'),
        ('ImageNetV2', 'ImageNetV2 ', 'INDEX'),
        ('ImageNetO', 'ImageNet-O ', 'WNID'),
    ],
)
def test_missing_sets_tell_name_and_layout(name, official, layout, tmp_path):
    kinds = dict(
        ImageNetC=dict(kind='fog', severity=1),
        ImageNetCBar=dict(kind=IMAGENET_C_BAR_KINDS[0], severity=1),
    )
    expected = f'{official}.*DATA_ROOT/{layout}/.*gone.* is not there. Downl'
    with pytest.raises(FileNotFoundError, match=expected):
        build(name, tmp_path / 'gone', **kinds.get(name, {}))


def test_class_folders_missing_or_extra(tmp_path):
    write(tmp_path, SOME_A[1:])
    with pytest.raises(ValueError, match=f'1 missing .{SOME_A[0]}.*Extract'):
        build('ImageNetA', tmp_path)
    (tmp_path / SOME_A[0]).mkdir()
    (tmp_path / 'n00000000').mkdir()
    with pytest.raises(ValueError, match=r'got 1 unknown \(n00000000\). Ext'):
        build('ImageNetA', tmp_path)
    (tmp_path / 'n00000000').rmdir()
    with pytest.raises(ValueError, match=f'got none in {SOME_A[0]}. Extract'):
        build('ImageNetA', tmp_path)


def test_another_set_in_its_place(tmp_path):
    write(tmp_path, SOME_R)
    with pytest.raises(ValueError, match='missing .*, .* more. and .*unknown'):
        build('ImageNetA', tmp_path)
    with pytest.raises(ValueError, match='no class folder. Change `data_r'):
        build('ImageNetA', tmp_path / SOME_R[0])


def test_hidden_files_are_passed_over(tmp_path):
    write(tmp_path, SOME_A)
    (tmp_path / SOME_A[0] / '._an image.JPEG').write_text('no image')
    (tmp_path / SOME_A[0] / 'README.txt').write_text('no image')
    (tmp_path / '.cache').mkdir()
    assert len(build('ImageNetA', tmp_path)) == 200


def test_corrupted_folders_number_their_classes_by_name(tmp_path):
    write(tmp_path / 'fog' / '5', ['b', 'a', 'c'])
    config = dict(kind='fog', severity=5)
    dataset = build('CorruptedFolders', tmp_path, **config)
    assert dataset.metainfo['classes'] == ('a', 'b', 'c')
    named = build('CorruptedFolders', tmp_path, classes=list('xyz'), **config)
    assert named.get_gt_labels().tolist() == [0, 1, 2]
    assert named.metainfo['classes'] == ('x', 'y', 'z')
    with pytest.raises(ValueError, match='Expected 2 class.*but got 3 in'):
        build('CorruptedFolders', tmp_path, classes=list('xy'), **config)


def test_any_folder_is_out_of_distribution(tmp_path):
    write(tmp_path / 'deep', ['one', 'two'])
    Image.new('RGB', (4, 4)).save(tmp_path / 'flat.png')
    dataset = build('OODFolder', tmp_path, name='NINCO', pipeline=LOAD)
    labels = [packed['data_samples'].gt_label.tolist() for packed in dataset]
    assert labels == [[-1]] * 3
    assert dataset.get_gt_labels().tolist() == [-1] * 3


def test_out_of_distribution_folders_without_images(tmp_path):
    expected = 'iSUN .*gone is not there. Download'
    with pytest.raises(FileNotFoundError, match=expected):
        build('OODFolder', tmp_path / 'gone', name='iSUN')
    with pytest.raises(ValueError, match='Textures, but got none.*.jpg.*Cha'):
        build('OODFolder', tmp_path, name='Textures')
