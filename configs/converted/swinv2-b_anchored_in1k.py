"""The authors' SwinV2-B, converted; not run yet.

Images, five references and calibrated logits as in their evaluation:
    python tools/test.py \
        configs/converted/swinv2-b_anchored_in1k.py converted.pth
"""

_base_ = './swinv2-t_anchored_in1k.py'
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1024)
)
