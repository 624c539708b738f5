"""Every study that comes with mmanchor runs on the digits."""
import json

import pytest
from helpers.tiny_studies import GROUND

from mmanchor.studies.cli import run_study
from mmanchor.studies.spec_file import load_study, study_names

# where the last needs more images than there are here, or where one setting
# of a method is not like another
SETTINGS = dict(
    reference_size=('standard', 'anchored, 50', 'masked, 50'),
    evidence=('standard', 'masked, uniform, by image', 'released',
              'subtractive control', 'Mixup', 'AugMix + masked, labels'))


@pytest.mark.parametrize('name', study_names())
def test_our_studies_run_on_the_digits(name, ground_file, words, tmp_path):
    """One setting of each method; the digits' variant by the name."""
    ground = ground_file(
        'digits',
        options=dict(GROUND['options'], **{'train_cfg.max_epochs': 1}))
    study = load_study(name, ground)
    assert len(study.settings) < 12  # for minutes on a CPU
    assert study.landscape or set(study.plot.metrics) <= set(study.metrics)
    settings = SETTINGS.get(name,
                            {one.method: one.name
                             for one in study.settings}.values())
    flags = ['--on', ground, '--seeds', '0', '--only', *settings]
    assert run_study(words(name, *flags)) == 0
    results = json.loads((tmp_path / 'work/results.json').read_text())
    assert {one['name'] for one in results['settings']} == set(settings)
    for found in results['settings']:
        have = {**found['mean'], **results['times'][found['name']]['mean']}
        # the tiny suite has severities 1 and 3
        assert set(study.metrics) - set(have) <= {'severity_5'}
        assert found['paper'] == {}
    assert (tmp_path / f'work/{name}.png').exists()
    assert not results['missing']
