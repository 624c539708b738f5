"""The authors' SwinV2-T, converted; not run yet.

Images as in their evaluation of SwinV2-B, five references, calibrated logits:
    python tools/test.py \
        configs/converted/swinv2-t_anchored_in1k.py converted.pth
"""

_base_ = './swinv2-t_in1k.py'
model = dict(type='AnchoredImageClassifier', average='calibrated')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.2)
custom_hooks = [dict(type='KReferenceHook', num_references=5)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='ResizeEdge',
        scale=256,
        edge='short',
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='CenterCrop', crop_size=256),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
