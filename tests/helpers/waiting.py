"""Waiting for other processes."""

import time


def until(condition, seconds=90, told=lambda: 'in vain'):
    """Until it is true; what is told if it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.02)
