"""torchvision's swin_v2_s, with its test images.

For plain weights that tools/convert_checkpoint.py converted:
    python tools/test.py configs/converted/swinv2-s_in1k.py plain.pth
"""

_base_ = './swinv2-t_in1k.py'
model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
