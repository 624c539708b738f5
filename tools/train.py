"""Train a model from a config: ``python tools/train.py CONFIG``."""

import mmanchor  # noqa: F401
from mmanchor.engine.launch import train


def main() -> None:
    train()


if __name__ == '__main__':
    main()
