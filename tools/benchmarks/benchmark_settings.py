"""Settings of the benchmarks: cases, repetitions, counts and the device."""

import argparse
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
    """Settings of a benchmark.

    Args:
        batch_size (int): Number of images in a batch. Defaults to 32.
        rounds (int): Number of measured rounds. A round runs every case once.
            Defaults to 20.
        warmup (int): Number of rounds before the measured ones. Defaults
            to 3.
        min_seconds (float): A case that takes less is repeated within a round
            until it takes about as long. Defaults to 0.5.
        num_references (int): Number of references K. Defaults to 10.
        num_candidates (int): Number of candidates M that transduction chooses
            from. Defaults to 50.
        num_residuals (int): Number of residuals N that transduction compares
            with. Defaults to 200.
        size (int, optional): Height and width of the images. Defaults to
            None: the config's.
        device (str): ``'cpu'`` or ``'cuda'``. Defaults to ``'cpu'``.
        amp (bool): Run forward passes in bfloat16 by autocast. Defaults to
            False.
        seed (int): Seed of weights, images and the order of cases. Defaults
            to 0.
        cases (Sequence[str]): Entries of ``CASES``, or groups of them. The
            standard case of each group is always added. Defaults to all.
        data (str): ``'noise'``, or ``'test'`` for images of the config's test
            set. Defaults to ``'noise'``.

    Raises:
        ValueError: A setting is out of its range, or there is no GPU.
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
        unknown = [case for case in self.cases if case not in known]
        if unknown or not self.cases:
            raise ValueError(
                f'Expected --cases to be among {", ".join(known)}, but got '
                f'{", ".join(unknown) or "none"}. Change them.'
            )
        for name, choices in (('device', ('cpu', 'cuda')), ('data', DATA)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f'Expected --{name} to be '
                    f'{" or ".join(choices)}, but got '
                    f'{getattr(self, name)}. Change it.'
                )
        if self.cases_of_group('train') and self.batch_size < 2:
            raise ValueError(
                'Expected --batch-size to be at least 2, because a reference '
                'is another image of the batch, but got '
                f'{self.batch_size}. Raise it, or leave training out with '
                '`--cases test`.'
            )
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise ValueError(
                'Expected a GPU for --device cuda, but PyTorch '
                'finds none. Change it to cpu.'
            )

    def cases_of_group(self, group: str) -> list[str]:
        """Return the chosen cases of a group, with the standard one first."""
        chosen = [
            case
            for case in GROUPS[group]
            if group in self.cases or f'{group}/{case}' in self.cases
        ]
        if not chosen:
            return []
        return ['standard', *(case for case in chosen if case != 'standard')]


def add_settings_flags(parser: argparse.ArgumentParser, **help_texts) -> None:
    """Add ``--size``, and an integer flag for each named setting.

    Args:
        parser (argparse.ArgumentParser): The parser of a benchmark.
        **help_texts (str): The text that ``--help`` shows, by the name of the
            setting.
    """
    for name, text in help_texts.items():
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=int,
            default=getattr(BenchmarkSettings, name),
            help=f'{text} (default: %(default)s)',
        )
    parser.add_argument(
        '--size', type=int, help="of the images; the config's by default"
    )
