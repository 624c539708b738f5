"""Tables of the benchmarks."""

from benchmark_report import notes
from helpers.few_rounds import few_rounds


def test_notes_say_when_the_number_of_references_means_nothing():
    used = dict(test=dict(adaptive=dict(mean_references=2.5)))
    noise, real = few_rounds().__dict__, few_rounds(data='test').__dict__
    found = dict(checkpoint='a.pth', groups=used)
    assert notes(found, noise)[1:] == [
        'adaptive used 2.5 references an image.',
        'Images are noise, so that number says nothing.',
    ]
    assert notes(found, real)[1:] == ['adaptive used 2.5 references an image.']
    assert notes(dict(checkpoint=None, groups={}), noise)[1:] == [
        'Weights are untrained.'
    ]
