"""Every study that comes with mmanchor runs on the digits."""
import json

import pytest
from tiny_studies import GROUND

from mmanchor.studies.command import run_study
from mmanchor.studies.reading import load_study, study_names

# where the last needs more images than there are here
SETTINGS = dict(reference_size='masked, 50')


@pytest.mark.parametrize('name', study_names())
def test_our_studies_run_on_the_digits(name, ground_file, words, tmp_path):
    """One setting of each, on few images; the digits' variant by the name."""
    ground = ground_file(
        'digits',
        options=dict(GROUND['options'], **{'train_cfg.max_epochs': 1}))
    study = load_study(name, ground)
    assert len(study.settings) < 10  # for minutes on a CPU
    assert study.landscape or set(study.plot.metrics) <= set(study.metrics)
    setting = SETTINGS.get(name, study.settings[-1].name)
    flags = ['--on', ground, '--only', setting, '--seeds', '0']
    assert run_study(words(name, *flags)) == 0
    results = json.loads((tmp_path / 'work/results.json').read_text())
    found, = results['settings']
    have = {**found['mean'], **results['times'][setting]['mean']}
    # the tiny suite has severities 1 and 3
    assert set(study.metrics) - set(have) <= {'severity_5'}
    assert (tmp_path / f'work/{name}.png').exists()
    assert not results['missing'] and found['paper'] == {}
