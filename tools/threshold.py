"""Find the confidence below which a model should abstain.

Usage: ``python tools/threshold.py CONFIG CHECKPOINT ...``.
"""

from mmanchor.engine.cli import import_from_here
from mmanchor.suite.abstention_cli import choose_threshold, make_parser

__all__ = ['make_parser']


def main() -> None:
    import_from_here()
    choose_threshold()


if __name__ == '__main__':
    main()
