"""ResNet-18 of width 16 on the digits, anchored after its third stage.

Images and references pass the first three stages once; ten references cost
ten times the last stage. Expect about 96.6 % on the 500 test images after 10
epochs (K = 10); the whole 40 were not run yet:
    python tools/train.py \\
        configs/digits/resnet18-w16_anchored-masked-layer3_digits.py
"""

_base_ = './resnet18-w16_anchored-masked_digits.py'
model = dict(anchor_at='layer3')
