"""Whether two runs are the same to the last bit."""

import torch

PARTS = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')


def differences(path, other):
    """Names of what differs in two checkpoints, of what training leads to."""
    saved, others = (
        torch.load(name, 'cpu', weights_only=False) for name in (path, other)
    )
    assert [p for p in PARTS if p in saved] == [
        p for p in PARTS if p in others
    ]
    found = [
        name
        for part in PARTS
        if part in saved
        for name in _differing(saved[part], others[part], part)
    ]
    for name in ('epoch', 'iter'):
        if saved['meta'][name] != others['meta'][name]:
            found.append(name)
    return found


def _differing(a, b, name):
    if isinstance(a, torch.Tensor):
        # bytes: two NaN are the same
        same = (
            a.dtype == b.dtype
            and a.shape == b.shape
            and (a.cpu().numpy().tobytes() == b.cpu().numpy().tobytes())
        )
        return [] if same else [name]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [name]
        return [n for k in a for n in _differing(a[k], b[k], f'{name}.{k}')]
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [name]
        return [
            n
            for i, (x, y) in enumerate(zip(a, b))
            for n in _differing(x, y, f'{name}.{i}')
        ]
    return [] if a == b else [name]
