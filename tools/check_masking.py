"""What masking has taught: ``tools/check_masking.py CONFIG CHECKPOINT``.

Answers of a trained model whose reference is blanked, as they were in training
and as they are at test.
"""
import dataclasses
from pathlib import Path

from rich.console import Console

from mmanchor.analysis.masking_check import (ImagesOfTwoSets, make_parser,
                                             masked_answers, masking_table)
from mmanchor.engine.checks import check_out
from mmanchor.engine.command_line import import_from_here
from mmanchor.engine.config_reading import read_config
from mmanchor.engine.loading import load_anchored
from mmanchor.engine.output import commit, versions, write_json
from mmanchor.engine.untrusted import checkpoint_loading
from mmanchor.evaluation.report.table import to_rich


def main() -> None:
    args = make_parser().parse_args()
    if args.out:
        check_out(args.out)
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    with checkpoint_loading(args.allow_code_in_checkpoints):
        model, _ = load_anchored(cfg, args.checkpoint)
    images = ImagesOfTwoSets(cfg, args.images, args.batch_size, args.seed)
    found = masked_answers(model.to(args.device), images)
    console = Console()
    for part in to_rich(masking_table(found, args.images), console.width):
        console.print(part)
    if args.out:
        write_json(
            dict(
                answers=[dataclasses.asdict(one) for one in found],
                seed=args.seed,
                versions=versions(),
                commit=commit()), Path(args.out))


if __name__ == '__main__':
    main()
