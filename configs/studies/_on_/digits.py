"""scikit-learn's digits, 16x16 px: every study in minutes, on a CPU."""

title = 'digits, ResNet-18 of width 16'
configs = dict(
    standard='digits/resnet18-w16_digits.py',
    anchored='digits/resnet18-w16_anchored_digits.py',
    masked='digits/resnet18-w16_anchored-masked_digits.py',
)
suite = 'digits'
shifted = 'Digits-C'
