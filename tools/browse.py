"""Draw training batches of a config: ``python tools/browse.py CONFIG``."""

from mmanchor.engine.batch_figure import browse, make_parser, save_figure
from mmanchor.engine.cli import import_from_here
from mmanchor.utils.config import read_config


def main() -> None:
    args = make_parser().parse_args()
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    figure = browse(cfg, args.batches, args.images, args.seed)
    save_figure(figure, args.out)
    title = figure.get_suptitle().replace('\n', ' ')
    print(f'{title[0].upper()}{title[1:]}')
    print(f'Batches: {args.out}')


if __name__ == '__main__':
    main()
