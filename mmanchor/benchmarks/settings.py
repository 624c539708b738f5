"""What a benchmark is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

GROUPS = {
    'train': ('standard', 'anchored', 'naive'),
    'test': (
        'standard',
        'folded',
        'single',
        'mean',
        'naive-mean',
        'transduction',
        'naive-transduction',
        'adaptive',
    ),
}
DATA = ('noise', 'test')
CASES = [
    f'{group}/{case}' for group, cases in GROUPS.items() for case in cases
]


@dataclass
class BenchmarkSettings:
    """What is timed, and how.

    Args:
        batch_size (int): Images in a batch.
        rounds (int): Rounds to measure; each runs every case once.
        warmup (int): Rounds before that.
        min_seconds (float): Short cases are repeated within a round until
            they take about as long.
        num_references (int): K.
        num_candidates (int): M, which transduction chooses from.
        num_residuals (int): N, which it compares with.
        size (int, optional): Of the images. None: the config's.
        device (str): ``'cpu'`` or ``'cuda'``.
        amp (bool): Forward passes in bfloat16 by autocast.
        seed (int): Of weights, images and the order of cases.
        cases (Sequence[str]): Names, or groups, of ``CASES``; the standard
            case of each group is always there.
        data (str): ``'noise'``, or the images of the config's ``'test'`` set.

    Raises:
        ValueError: One of them is out of range.
    """

    batch_size: int = 32
    rounds: int = 20
    warmup: int = 3
    min_seconds: float = 0.5
    num_references: int = 10
    num_candidates: int = 50
    num_residuals: int = 200
    size: int | None = None
    device: str = 'cpu'
    amp: bool = False
    seed: int = 0
    cases: Sequence[str] = tuple(GROUPS)
    data: str = 'noise'

    def __post_init__(self):
        for name, least in (
            ('batch_size', 1),
            ('rounds', 1),
            ('warmup', 0),
            ('num_references', 1),
            ('num_candidates', 1),
            ('num_residuals', 1),
        ):
            if getattr(self, name) < least:
                flag = f'--{name.replace("_", "-")}'
                raise ValueError(
                    f'Expected {flag} to be at least {least}, '
                    f'but got {getattr(self, name)}. Raise it.'
                )
        if not self.min_seconds >= 0:
            raise ValueError(
                'Expected --min-seconds to be at least 0, but '
                f'got {self.min_seconds}. Raise it.'
            )
        if self.size is not None and self.size < 1:
            raise ValueError(
                'Expected --size to be at least 1, but got '
                f'{self.size}. Raise it, or leave it out.'
            )
        known = [*GROUPS, *CASES]
        wrong = [case for case in self.cases if case not in known]
        if wrong or not self.cases:
            raise ValueError(
                f'Expected --cases to be among {", ".join(known)}, but got '
                f'{", ".join(wrong) or "none"}. Change them.'
            )
        for name, choices in (('device', ('cpu', 'cuda')), ('data', DATA)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f'Expected --{name} to be '
                    f'{" or ".join(choices)}, but got '
                    f'{getattr(self, name)}. Change it.'
                )
        if self.of_group('train') and self.batch_size < 2:
            raise ValueError(
                'Expected --batch-size to be at least 2, for a reference is '
                f'another image of the batch, but got {self.batch_size}. '
                'Raise it, or leave training out with `--cases test`.'
            )
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise ValueError(
                'Expected a GPU for --device cuda, but PyTorch '
                'finds none. Change it to cpu.'
            )

    def of_group(self, group: str) -> Sequence[str]:
        """The cases of a group that are to be timed, standard first."""
        named = [
            case
            for case in GROUPS[group]
            if group in self.cases or f'{group}/{case}' in self.cases
        ]
        return named and ['standard', *(c for c in named if c != 'standard')]
