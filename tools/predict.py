"""Predict images: ``python tools/predict.py CONFIG CHECKPOINT IMAGE ...``."""

import sys

from mmanchor.diagnostics.image_predictions import make_parser, predict
from mmanchor.engine.cli import import_from_here


def main() -> None:
    args = make_parser().parse_args()
    import_from_here()
    if predict(args):  # Some images could not be read.
        sys.exit(1)


if __name__ == '__main__':
    main()
