"""scikit-learn's digits, corrupted on the spot, and patches of photographs.

All comes with the install. The corruptions have CIFAR-10-C's settings, on
images of 16 pixels, and go to `data/digits-cifar-c`:
    python tools/evaluate.py CONFIG CHECKPOINT --suite digits
"""

title = 'Digits'
clean = dict(name='Digits', dataset=dict(type='Digits', split='test'))
shifts = [
    dict(
        name='Digits-C',
        dataset=dict(type='CorruptedArrays', data_root='digits-cifar-c'),
        steps=[dict(type='Resize', scale=16, interpolation='bicubic')],
        make=True,
        settings='cifar-c',
    ),
]
ood = [
    dict(name='Photographs', dataset=dict(type='PhotoPatches', size=16)),
]
# 200 of 500 images: a good model is right on all of a tenth, and then there is
# no temperature that fits best
held_out = dict(share=0.4)
