"""``tools/train.py`` in a process group on the CPU, for ``torchrun``."""

import datetime
import os
import sys

import torch.distributed as dist

from mmanchor.engine.launch import train


def main(arguments) -> None:
    """Train as the arguments say, as one of the processes."""
    dist.init_process_group(
        'gloo',
        timeout=datetime.timedelta(
            seconds=float(os.environ.get('GLOO_TIMEOUT', 60))
        ),
    )
    train([*arguments, '--launcher', 'pytorch'])
    dist.destroy_process_group()


if __name__ == '__main__':
    main(sys.argv[1:])
