"""The authors' ViT-B/16, converted; not run yet.

Five references and calibrated logits, as in their evaluation:
    python tools/test.py \
        configs/converted/vit-b16_anchored_in1k.py converted.pth
"""

_base_ = './vit-b16_in1k.py'
model = dict(type='AnchoredImageClassifier', average='calibrated')
data_preprocessor = dict(type='AnchoringDataPreprocessor', mask_prob=0.2)
custom_hooks = [dict(type='KReferenceHook', num_references=5)]
