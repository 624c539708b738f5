"""Measure checkpoints on a safety suite:
``python tools/evaluate.py CONFIG CHECKPOINT --suite digits``.
"""
import warnings

# the host warns of optional parts at import that nothing here needs
warnings.filterwarnings('ignore', message='.*MultiScaleDeformableAttention')

from mmanchor.evaluation.suite.command import main  # noqa: E402

if __name__ == '__main__':
    main()
