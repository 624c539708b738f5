"""Train and compare three models on real digits: ``python tools/demo.py``."""

import argparse

from mmanchor.demo.run import run_demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--max-epochs', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--data-root', default='data', help='where corrupted digits go'
    )
    run_demo(**vars(parser.parse_args()))


if __name__ == '__main__':
    main()
