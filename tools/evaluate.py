"""Measure checkpoints on a safety suite:
``python tools/evaluate.py CONFIG CHECKPOINT --suite digits``.
"""

from mmanchor.suite.cli import main

if __name__ == '__main__':
    main()
