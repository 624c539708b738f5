"""The model index lists every config of a model, and no other."""

import re
from pathlib import Path

import pytest
import yaml
from helpers.recipe_leaves import ROOT, read
from mmpretrain import get_model, list_models
from mmpretrain.apis import ModelHub
from mmpretrain.registry import MODELS
from modelindex.load_model_index import load

from mmanchor import CONFIG_DIR
from mmanchor.models import AnchoredImageClassifier

INDEX = CONFIG_DIR.parent / 'model-index.yml'
FILES = sorted(CONFIG_DIR.rglob('metafile.yml'))
MODELS_LISTED = [
    model
    for path in FILES
    for model in yaml.safe_load(path.read_text())['Models']
]
NAMES = [model['Name'] for model in MODELS_LISTED]
CONVERTED = [m for m in MODELS_LISTED if '/converted/' in m['Config']]
RECIPES = [m for m in MODELS_LISTED if m not in CONVERTED]
SMALL = [m for m in RECIPES if '/imagenet/' not in m['Config']]


def name_of(model):
    return model['Name']


@pytest.fixture
def hub(monkeypatch):
    """MMPretrain's, without what is registered with it already."""
    monkeypatch.setattr(ModelHub, '_models_dict', {})
    monkeypatch.setattr(ModelHub, '_ModelHub__mmpretrain_registered', True)
    return ModelHub


def test_every_config_of_a_model_is_listed_and_no_other():
    configs = {
        str(path.relative_to(CONFIG_DIR.parent))
        for path in CONFIG_DIR.rglob('*.py')
        if '_base_' not in path.parts and 'model' in read(path)
    }
    assert len(configs) >= 66
    assert {model['Config'] for model in MODELS_LISTED} == configs
    assert len(NAMES) == len(set(NAMES)) == len(configs)
    for model in MODELS_LISTED:
        # a recipe may have the name of what was converted
        end = '_converted' if model in CONVERTED else ''
        assert model['Name'] == Path(model['Config']).stem + end


def test_every_metafile_is_imported():
    imported = yaml.safe_load(INDEX.read_text())['Import']
    assert sorted(imported) == [
        str(path.relative_to(CONFIG_DIR.parent)) for path in FILES
    ]


@pytest.mark.parametrize('listed', CONVERTED, ids=name_of)
def test_converted_models_are_told_apart_from_recipes(listed):
    collection = listed['In Collection']
    data = Path(listed['Config']).stem.split('_')[-1]
    assert f'for {data.replace("in1k", "imagenet1k")}, converted' in (
        collection.lower().replace('-', '')
    )
    assert ('_anchored' in listed['Name']) == collection.startswith('Anchored')
    assert set(listed['Metadata']) == {'Parameters'}


@pytest.mark.parametrize('listed', RECIPES, ids=name_of)
def test_what_is_told_is_so(listed):
    cfg = read(Path(listed['Config']).relative_to('configs'))
    told = listed['Metadata']
    assert told['Epochs'] == cfg.train_cfg.max_epochs
    assert told['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    collection = listed['In Collection'].lower()
    data = listed['Config'].split('/')[1]
    assert data in collection.replace('-', '')
    masked = '_anchored-masked' in listed['Name']
    assert ('reference masking' in collection) == masked
    assert collection.startswith('anchored') == ('_anchored' in listed['Name'])


@pytest.mark.parametrize('listed', SMALL, ids=name_of)
def test_parameters_are_counted(listed):
    cfg = read(Path(listed['Config']).relative_to('configs'))
    model = MODELS.build(cfg.model)
    assert listed['Metadata']['Parameters'] == sum(
        p.numel() for p in model.parameters()
    )


def test_results_are_those_measured_here():
    page = (ROOT / 'docs/earlier-measurements.md').read_text()
    results = {
        model['Name']: model['Results'][0]['Metrics']['Top 1 Accuracy']
        for model in MODELS_LISTED
        if 'Results' in model
    }
    demo = re.findall(
        r'^ (?:standard|anchored).*?  (?:–|1) +([\d.]+) ', page, re.M
    )
    short = re.findall(r'top-1 .*\| ([\d.]+) \|$', page, re.M)
    vits = re.findall(r'^\| ViT, .*?\| ([\d.]+) ±', page, re.M)
    assert results == {
        'resnet18-w16_digits': float(demo[0]),
        'resnet18-w16_anchored_digits': float(demo[1]),
        'resnet18-w16_anchored-masked_digits': float(demo[2]),
        'vit-w64_digits': float(vits[0]),
        'vit-w64_anchored_digits': float(vits[1]),
        'vit-w64_anchored-masked_digits': float(vits[2]),
        'resnet18-w16_cifar10-folders': float(short[0]),
        'resnet18-w16_anchored-masked_cifar10-folders': float(short[1]),
    }


def test_collections_are_those_of_the_models():
    collections = [
        c['Name']
        for path in FILES
        for c in yaml.safe_load(path.read_text())['Collections']
    ]
    assert len(collections) == len(set(collections))
    assert {m['In Collection'] for m in MODELS_LISTED} == set(collections)
    index = load(str(INDEX))
    assert not index.check(silent=True)
    index.build_models_with_collections()
    (wrn,) = [m for m in index.models if m.name == 'wrn-40-2_anchored_cifar10']
    assert wrn.full_model.metadata.data['Training Data'] == 'CIFAR-10'


def test_the_page_s_lines_make_the_hub_know_them(hub):
    page = (ROOT / 'docs/recipes.md').read_text()
    code, _ = re.findall(r'^```py\n(.*?)^```', page, re.M | re.S)
    names = {}
    exec(code, names)
    assert set(list_models()) == {name.lower() for name in NAMES}
    assert isinstance(names['model'], AnchoredImageClassifier)
    plain = get_model('wrn-40-2_cifar100')
    assert type(plain).__name__ == 'ImageClassifier'
