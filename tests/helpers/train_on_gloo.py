"""``tools/train.py`` in a process group on the CPU, for ``torchrun``."""
import datetime
import os
import sys

import torch.distributed as dist

import mmanchor  # noqa: F401
from mmanchor.engine.launch import train

if __name__ == '__main__':
    dist.init_process_group(
        'gloo',
        timeout=datetime.timedelta(
            seconds=float(os.environ.get('GLOO_TIMEOUT', 60))))
    train([*sys.argv[1:], '--launcher', 'pytorch'])
    dist.destroy_process_group()
