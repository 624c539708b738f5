"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

import mmanchor  # noqa: F401
from mmanchor.engine.launch import test


def main() -> None:
    test()


if __name__ == '__main__':
    main()
