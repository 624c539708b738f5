"""Imported by a run, it makes checkpoints slow to write, as large ones are.

The first half is there for a while before the second, so that a run that is
killed at random is often killed in between.
"""

import os
import time

from mmengine.fileio import LocalBackend

SECONDS = float(os.environ.get('SLOW_DISK_SECONDS', 0))


def put(self, obj, filepath):
    with open(filepath, 'wb') as file:
        file.write(obj[: len(obj) // 2])
        file.flush()
        time.sleep(SECONDS)
        file.write(obj[len(obj) // 2 :])


if SECONDS:  # collecting doctests imports it as well
    LocalBackend.put = put
