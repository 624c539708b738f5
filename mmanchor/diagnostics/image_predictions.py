"""Predicts image files: ``tools/predict.py``."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dataset import Compose
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS
from rich.console import Console
from rich.markup import escape

from ..checkpoints.safe_loading import (
    FLAG_ADVICE,
    add_trust_flag,
    checkpoint_loading,
)
from ..datasets.image_folders import list_images
from ..engine.batch_figure import save_figure
from ..engine.cli import (
    add_cfg_options,
    add_device_flag,
    add_reading_flags,
    check_reading_flags,
)
from ..engine.reference_flags import add_reference_flags, set_references
from ..evaluation.abstention import Threshold, read_threshold
from ..evaluation.prediction_sets import PredictionSets, read_prediction_sets
from ..functional import check_uncertainty
from ..models.inference.protocols import check_measures
from ..suite.candidates import Candidate
from ..suite.figures.style import new_figure
from ..suite.images import TestPipeline
from ..suite.measure import predict_batch
from ..suite.report.table import Table, to_rich
from ..utils.config import read_config, reference_hooks
from ..utils.console import progress_bars
from ..utils.files import user_path, whole_files
from ..utils.provenance import readable

MAX_CLASSES = 5  # number of classes in the figure of an image
NO_IMAGE = 'it is no image'


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of ``tools/predict.py``."""
    parser = argparse.ArgumentParser(
        description='Predict image files: label, confidence and spread over '
        'references.'
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument('checkpoint', type=user_path, help='checkpoint file')
    parser.add_argument(
        'images',
        type=user_path,
        nargs='+',
        metavar='IMAGE',
        help='files, folders, or - to read paths from standard input, one a '
        'line',
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help='print JSON lines instead of a table',
    )
    parser.add_argument(
        '--out',
        type=user_path,
        metavar='FILE',
        help='write JSON lines to a file; after an interruption, the same '
        'command continues it',
    )
    parser.add_argument(
        '--figure',
        type=user_path,
        metavar='PNG',
        help='draw the first image that can be read, with the prediction of '
        'each reference',
    )
    parser.add_argument(
        '--abstain',
        action='store_true',
        help='mark predictions that are not trusted, by the threshold that '
        'tools/threshold.py saved beside the checkpoint',
    )
    parser.add_argument(
        '--coverage',
        type=float,
        metavar='SHARE',
        help='name all classes that an image may have, by the sets that '
        'tools/threshold.py --coverage SHARE saved beside the checkpoint',
    )
    add_reading_flags(parser, batch_size=64)
    add_device_flag(parser)
    add_trust_flag(parser)
    add_cfg_options(parser)
    add_reference_flags(parser)
    return parser


def predict(args: argparse.Namespace) -> int:
    """Predict images, and print or write the predictions.

    Returns:
        int: The number of images that could not be read.

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: There is no image, a flag does not fit the model, no
            threshold was saved for ``--abstain``, no sets for ``--coverage``,
            or ``--out`` has other predictions.
    """
    cfg = read_config(args.config, args.cfg_options)
    set_references(cfg, argparse.Namespace(**vars(args), tta=False))
    paths = find_images(args.images)
    first = paths[0]
    candidate = Candidate(
        Path(args.config).stem,
        cfg,
        args.checkpoint,
        args.config,
        args.allow_code_in_checkpoints,
    )
    hooks = reference_hooks(cfg)
    with checkpoint_loading(args.allow_code_in_checkpoints, FLAG_ADVICE):
        predictor = ImagePredictor(
            candidate,
            args.device,
            args.batch_size,
            args.workers,
            hooks[0].get('uncertainty', ()) if hooks else (),
            *saved_decisions(
                args.checkpoint,
                candidate.sha256,
                candidate.how,
                args.abstain,
                args.coverage,
            ),
        )
    console = Console(emoji=False)
    file = None
    if args.out:
        made_by = dict(
            sha256=candidate.sha256,
            references=candidate.how,
            measures=list(predictor.measures),
            threshold=predictor.threshold and asdict(predictor.threshold),
            **predictor.described,
        )
        if predictor.sets is not None:
            made_by['sets'] = asdict(predictor.sets)
        file = PredictionFile(args.out, made_by)
    drawn = None
    if args.figure:
        readable_paths = (
            one for one in paths if not isinstance(predictor.read(one), str)
        )
        drawn = next(readable_paths, None)
        if drawn is not None:
            save_figure(predictor.figure(drawn), args.figure)
    if file is not None:
        paths = [one for one in paths if readable(one) not in file.done]
    records: list[dict] = []
    quiet = args.json and not args.out
    with progress_bars(Console(stderr=True, quiet=quiet)) as bars:
        bar = bars.add_task('predict', total=len(paths))
        for batch in predictor.batches(paths):
            if file is not None:
                file.add(batch)
            elif args.json:
                sys.stdout.write(''.join(map(_line, batch)))
            records += batch
            bars.advance(bar, len(batch))
    unreadable = [one for one in records if 'error' in one]
    if not args.json and not args.out and len(unreadable) < len(records):
        for part in to_rich(predictions_table(records), console.width):
            console.print(part)
    notes = [
        f'Not read: {readable(one["image"])}: {one["error"]}'
        for one in unreadable
    ]
    if args.figure and drawn is None:
        notes.append('No figure: none of the images can be read.')
    elif drawn is not None and drawn != first:
        notes.append(f'Drawn: {readable(drawn)}, the first that can be read.')
    for text in notes:
        Console(stderr=True).print(escape(text), soft_wrap=True)
    if args.out:
        text = f'Predictions: {args.out}, {len(records):,} new.'
        console.print(escape(text), soft_wrap=True)
    return len(unreadable)


def saved_decisions(
    checkpoint: str | Path,
    sha256: str,
    how: str | None,
    abstain: bool = False,
    coverage: float | None = None,
) -> tuple[Threshold | None, PredictionSets | None]:
    """Read the threshold and the sets that ``tools/threshold.py`` has saved.

    They lie beside the checkpoint. They are looked up by its SHA-256 and by
    ``how``, which says how references are used (None for plain models). A
    part that is not asked for is None.

    Raises:
        ValueError: A part was not saved.
    """
    where = (checkpoint, sha256, how or 'plain')
    return (
        read_threshold(*where) if abstain else None,
        None if coverage is None else read_prediction_sets(*where, coverage),
    )


def answer_records(
    fields: Mapping[str, torch.Tensor],
    measures: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    threshold: Threshold | None = None,
    sets: PredictionSets | None = None,
) -> Iterator[dict]:
    """Yield a record for each image of a batch; see :class:`ImagePredictor`.

    ``fields`` are those of the predictions: ``pred_score`` (B, num_classes),
    and if the model has them ``pred_std``, ``num_references`` and measures.

    Example:
        >>> fields = dict(pred_score=torch.tensor([[0.25, 0.75]]))
        >>> list(answer_records(fields, classes=['cat', 'dog']))
        [{'label': 1, 'name': 'dog', 'confidence': 0.75}]
    """
    scores = fields['pred_score'].float().cpu()
    confidence, label = scores.max(1)
    columns = dict(label=label, confidence=confidence)
    if 'pred_std' in fields:
        columns['spread'] = fields['pred_std'].float().mean(1)
    for name in ('num_references', *measures):
        if name in fields:
            columns[name] = fields[name]
    lists = {name: values.tolist() for name, values in columns.items()}
    if sets is not None:
        orders = scores.argsort(1, descending=True)
        insides = sets.of(scores)

    def name_of(label: int) -> int | str:
        return label if classes is None else str(classes[label])

    for i, values in enumerate(zip(*lists.values())):
        found = dict(zip(lists, values))
        if classes is not None:
            label = found.pop('label')
            found = dict(label=label, name=name_of(label), **found)
        if threshold is not None:
            found['abstains'] = not threshold.trusts(found[threshold.by])
        if sets is not None:
            order, inside = orders[i], insides[i]
            found['set'] = [
                name_of(label) for label in order[inside[order]].tolist()
            ]
        yield found


def find_images(words: Sequence[str]) -> list[str]:
    """List the images that the command line names, in order.

    The words are files, folders, or ``-`` for paths on standard input.

    Raises:
        ValueError: A folder has no images, or there are none at all.

    Example:
        >>> find_images(['a.png', 'b.jpg'])
        ['a.png', 'b.jpg']
    """
    paths: list[str] = []
    for word in words:
        if word == '-':
            lines = (line.strip() for line in sys.stdin)
            paths += [user_path(line) for line in lines if line]
        elif Path(word).is_dir():
            in_folder = list_images(word)
            if not in_folder:
                raise ValueError(
                    f'Expected images in the folder {word}, but got none. '
                    'Name another folder.'
                )
            paths += map(str, in_folder)
        else:
            paths.append(word)
    if not paths:
        raise ValueError(
            'Expected images to predict, but got none. Name files or folders.'
        )
    return paths


class ImageReader:
    """Reads images as a model's test pipeline leaves them.

    A pipeline that was trained on arrays gets channels in their order, RGB.
    """

    def __init__(self, pipeline: TestPipeline):
        self._load = TRANSFORMS.build(pipeline.load)
        self._transform = Compose(
            [TRANSFORMS.build(step) for step in pipeline.steps]
        )
        self._order = pipeline.channel_order

    def __call__(self, image: str | np.ndarray) -> torch.Tensor | str:
        """Return an image after the test pipeline, or why it can't be read.

        Shape:
            - image: (H, W, C), uint8, BGR, where it is an array and no file
            - output: (C, H, W)
        """
        try:
            info = (
                self._load(dict(img_path=image))
                if isinstance(image, str)
                else dict(
                    img=image,
                    img_shape=image.shape[:2],
                    ori_shape=image.shape[:2],
                )
            )
        except FileNotFoundError:
            return 'there is no such file'
        except (AssertionError, ValueError, cv2.error):
            return NO_IMAGE  # the texts have OpenCV's code, or name the file
        except OSError as error:
            return _one_line(error) or NO_IMAGE
        if info is None:
            return NO_IMAGE
        if self._order == 'rgb' and info['img'].shape[-1] == 3:
            info['img'] = np.ascontiguousarray(info['img'][..., ::-1])
        try:
            return PackInputs.format_input(self._transform(info)['img'])
        except (AssertionError, OSError, ValueError, cv2.error) as error:
            text = '' if isinstance(error, cv2.error) else _one_line(error)
            return text or 'the test pipeline can not transform it'


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


@dataclass
class ImagePredictor:
    """Predicts image files in batches, which threads read in advance.

    Args:
        candidate (Candidate): The model, and how it uses its references.
        device (str): The device of the model. Defaults to ``'cpu'``.
        batch_size (int): Number of images in a batch. Defaults to 64.
        workers (int): Number of threads that read images. Defaults to 2.
        measures (Sequence[str]): Measures of uncertainty to add; see
            :func:`~mmanchor.functional.check_uncertainty`. Defaults to none.
        threshold (Threshold, optional): The threshold that sets ``abstains``
            of each prediction. Defaults to None.
        sets (PredictionSets, optional): The prediction sets that give each
            image its ``set`` of classes. Defaults to None.

    Raises:
        TypeError: The model is not a classifier with one softmax.
        ValueError: The checkpoint does not fit the config, an argument is
            below 1, or the protocol does not support a measure.
    """

    candidate: Candidate
    device: str = 'cpu'
    batch_size: int = 64
    workers: int = 2
    measures: Sequence[str] = ()
    threshold: Threshold | None = None
    sets: PredictionSets | None = None

    def __post_init__(self):
        check_reading_flags(self.batch_size, self.workers)
        self.model, pipeline, self.classes = self.candidate.load(self.device)
        self.measures = check_uncertainty(self.measures)
        if self.measures:  # Only anchored models have measures.
            check_measures(self.model.protocol, self.measures)
        self.read = ImageReader(pipeline)
        preprocessor = self.model.data_preprocessor
        normalises = getattr(preprocessor, '_enable_normalize', False)
        # Everything else than the checkpoint that predictions depend on.
        self.described = dict(
            pipeline=repr([pipeline.load, *pipeline.steps]),
            channel_order=pipeline.channel_order,
            to_rgb=getattr(preprocessor, 'to_rgb', None),
            normalised=[
                getattr(preprocessor, name).flatten().tolist()
                for name in ('mean', 'std')
            ]
            if normalises
            else None,
            average=getattr(self.model, 'average', None),
            classes=self.classes and list(map(str, self.classes)),
        )

    def __call__(self, paths: Sequence[str]) -> list[dict]:
        """Predict image files in order; see :meth:`batches`."""
        return [one for batch in self.batches(paths) for one in batch]

    def batches(self, paths: Sequence[str]) -> Iterator[list[dict]]:
        """Predict image files in order, one batch at a time.

        Yields:
            list[dict]: A record for each image, with its path as ``image``,
            and ``error`` if it can't be read. Otherwise it has ``label``;
            ``name`` if the checkpoint names its classes; ``confidence``;
            ``num_references`` and, unless the protocol is adaptive,
            ``spread`` for anchored models; the measures; ``abstains`` if
            there is a threshold; and ``set`` if there are prediction sets:
            the names of the classes that the image may have, or their labels,
            the likeliest first.
        """
        starts = range(0, len(paths), self.batch_size)
        with (
            ThreadPoolExecutor(1) as ahead,
            ThreadPoolExecutor(self.workers) as readers,
        ):

            def read_batch(start):
                batch = paths[start : start + self.batch_size]
                return batch, list(readers.map(self.read, batch))

            next_batch = ahead.submit(read_batch, 0)
            for start in starts:
                batch, images = next_batch.result()
                if start != starts[-1]:
                    next_batch = ahead.submit(
                        read_batch, start + self.batch_size
                    )
                yield self._predict(batch, images)

    def _predict(self, paths, images) -> list[dict]:
        records = [dict(image=path) for path in paths]
        shapes: dict[tuple, list[int]] = {}
        for i, image in enumerate(images):
            if isinstance(image, str):
                records[i]['error'] = image
            else:
                shapes.setdefault(tuple(image.shape), []).append(i)
        for rows in shapes.values():
            batch = torch.stack([images[i] for i in rows])
            found = answer_records(
                predict_batch(self.model, batch, self.measures),
                self.measures,
                self.classes,
                self.threshold,
                self.sets,
            )
            for i, record in zip(rows, found):
                records[i].update(record)
        return records

    def figure(self, path: str) -> Figure:
        """Draw an image with each reference's confidence in the top classes.

        Raises:
            ValueError: The image can't be read.
        """
        image = self.read(path)
        if isinstance(image, str):
            raise ValueError(
                f'Expected {path} to be an image, but got: '
                f'{image.rstrip(".")}. Name another.'
            )
        fields = predict_batch(self.model, image[None])
        logits = fields.get('reference_logits')
        confidences = (
            fields['pred_score'].float()
            if logits is None
            else logits[0].float().softmax(0).T
        ).cpu()
        mean = fields['pred_score'][0].float().cpu()
        top = mean.argsort(descending=True)[:MAX_CLASSES].tolist()
        figure = new_figure(6, 2.4)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
        left.imshow(cv2.imread(path)[..., ::-1])
        left.set_axis_off()
        count = len(confidences)
        for row, i in enumerate(top):
            right.barh(row, 100 * float(mean[i]), color='0.8')
            dots = dict(color='#0072b2', ms=3)
            right.plot(100 * confidences[:, i], [row] * count, 'o', **dots)
        names = [
            str(i if self.classes is None else self.classes[i]) for i in top
        ]
        right.set_yticks(range(len(names)), names)
        right.invert_yaxis()
        right.set(xlim=(0, 101), xlabel='confidence (%)')
        right.set_title(
            f'bar: prediction; dots: {count} reference{"s" * (count > 1)}, '
            'each alone',
            fontsize=8,
            loc='left',
        )
        return figure


def predictions_table(records: Sequence[dict]) -> Table:
    """Make a table of predictions for the terminal."""
    shown = [one for one in records if 'error' not in one]
    keys = list(dict.fromkeys(key for one in shown for key in one))
    rows = [[_cell(one.get(key)) for key in keys] for one in shown]
    return Table('Predictions', '', keys, rows)


def _cell(value) -> str:
    if value is None:
        return '–'
    if isinstance(value, list):
        return ' '.join(map(_cell, value))
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return f'{value:.3f}' if isinstance(value, float) else str(value)


class PredictionFile:
    """A file of JSON lines that an interrupted run can continue.

    The first line describes everything that the predictions depend on. Lines
    of images that could not be read are removed, so that these are tried
    again. ``done`` are the images that the file has predictions for.

    Raises:
        ValueError: The file has predictions of another model, or is not a
            file of predictions.
    """

    def __init__(self, path: str | Path, made_by: dict):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = _line(dict(made_by=made_by))
        text = (
            self.path.read_text(encoding='utf-8') if self.path.exists() else ''
        )
        whole = text[: text.rfind('\n') + 1]  # The last line may be cut short.
        if not (whole or text).startswith(head) and not head.startswith(text):
            raise ValueError(
                f'Expected {path} to have predictions of the same model, '
                'references, measures, test pipeline, normalisation and '
                'class names, but got others, or another file. Name another '
                '--out, or remove it.'
            )
        self.done, lines = set(), [head]
        for line in whole.split('\n')[1:-1]:
            record = json.loads(line)
            if 'error' not in record:
                self.done.add(record['image'])
                lines.append(f'{line}\n')
        if ''.join(lines) != text:
            with whole_files(self.path.parent) as partial:
                file = partial / self.path.name
                file.write_text(''.join(lines), encoding='utf-8')

    def add(self, records: Sequence[dict]) -> None:
        """Append predictions to the file."""
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(''.join(map(_line, records)))


def _line(record: dict) -> str:
    record = {
        key: readable(value) if isinstance(value, str) else value
        for key, value in record.items()
    }
    return json.dumps(record, ensure_ascii=False) + '\n'
