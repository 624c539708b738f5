from mmpretrain.registry import DATASETS


def test_a_marked_data_set_has_labels_below_0():
    dataset = DATASETS.build(
        dict(
            type='Digits',
            indices=5,
            pipeline=[
                dict(type='MarkOutOfDistribution'),
                dict(type='PackInputs'),
            ],
        )
    )
    labels = [packed['data_samples'].gt_label.tolist() for packed in dataset]
    assert labels == [[-1]] * 5
    assert 'MarkOutOfDistribution()' in repr(dataset.pipeline)
