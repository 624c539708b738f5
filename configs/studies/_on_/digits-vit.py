"""scikit-learn's digits and a ViT, which has no BatchNorm: on a CPU."""

title = 'digits, ViT of width 64'
configs = dict(
    standard='digits/vit-w64_digits.py',
    anchored='digits/vit-w64_anchored_digits.py',
    masked='digits/vit-w64_anchored-masked_digits.py',
)
suite = 'digits'
shifted = 'Digits-C'
