"""Train and compare three models on real digits: ``python tools/demo.py``."""

import argparse

from mmanchor.demo import run_demo
from mmanchor.utils.console import print_in_any_locale
from mmanchor.utils.files import user_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=user_path, default='work_dirs/demo')
    parser.add_argument('--max-epochs', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--data-root',
        type=user_path,
        default='data',
        help='folder for corrupted digits',
    )
    print_in_any_locale()
    run_demo(**vars(parser.parse_args()))


if __name__ == '__main__':
    main()
