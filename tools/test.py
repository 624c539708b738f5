"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

import mmanchor  # noqa: F401
from mmanchor.engine.launch import test

if __name__ == '__main__':
    test()
