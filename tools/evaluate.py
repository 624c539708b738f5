"""Measure checkpoints on a safety suite:
``python tools/evaluate.py CONFIG CHECKPOINT --suite digits``.
"""
from mmanchor.evaluation.suite.command import main

if __name__ == '__main__':
    main()
