"""Check the effect of masking: ``tools/check_masking.py CONFIG CHECKPOINT``.

The tool measures what a trained model predicts if its reference is blanked,
under the conditions of training and those of test.
"""

import dataclasses
from pathlib import Path

from rich.console import Console

from mmanchor.checkpoints.model_loading import load_anchored
from mmanchor.checkpoints.safe_loading import FLAG_ADVICE, checkpoint_loading
from mmanchor.diagnostics.masking_check import (
    TrainAndTestImages,
    make_parser,
    masking_table,
    measure_masked_answers,
)
from mmanchor.engine.cli import import_from_here
from mmanchor.suite.report.table import to_rich
from mmanchor.utils.config import read_config
from mmanchor.utils.console import write_json
from mmanchor.utils.files import check_out
from mmanchor.utils.provenance import commit, versions


def main() -> None:
    args = make_parser().parse_args()
    if args.out:
        check_out(args.out)
    import_from_here()
    cfg = read_config(args.config, args.cfg_options)
    allow_code = args.allow_code_in_checkpoints
    with checkpoint_loading(allow_code, FLAG_ADVICE):
        model, _ = load_anchored(cfg, args.checkpoint, allow_code)
    images = TrainAndTestImages(cfg, args.images, args.batch_size, args.seed)
    answers = measure_masked_answers(model.to(args.device), images)
    console = Console(emoji=False)
    for part in to_rich(masking_table(answers, args.images), console.width):
        console.print(part)
    if args.out:
        write_json(
            dict(
                answers=[dataclasses.asdict(one) for one in answers],
                seed=args.seed,
                versions=versions(),
                commit=commit(),
            ),
            Path(args.out),
        )


if __name__ == '__main__':
    main()
