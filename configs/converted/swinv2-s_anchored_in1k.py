"""The authors' SwinV2-S, converted; not run yet.

Images as in their evaluation of SwinV2-B, five references, calibrated logits:
    python tools/test.py \
        configs/converted/swinv2-s_anchored_in1k.py converted.pth
"""

_base_ = './swinv2-t_anchored_in1k.py'
model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
