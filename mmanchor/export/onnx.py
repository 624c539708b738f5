"""Exports an anchored model to ONNX or ``torch.export``."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from ..checkpoints.model_loading import load_anchored
from ..models import AnchoredImageClassifier
from ..models.folding import FoldedReferences, plain_preprocessor
from ..models.inference.protocols import Protocol, build_protocol
from ..utils.config import reference_hooks
from ..utils.files import whole_files
from .compare import (
    Comparison,
    check_difference,
    comparison_images,
    relative_difference,
)


class ExportableModel(nn.Module):
    """An anchored model that exporters can trace, from images to logits.

    Args:
        model (AnchoredImageClassifier): The model, which uses the references
            to export. It is not changed.
        pixels (bool): Whether to normalise the images. Defaults to False.

    Shape:
        - images: (B, C, H, W), normalised, or as the test pipeline packs them
          if ``pixels`` is true
        - output: (B, num_classes)

    Raises:
        ValueError: See :class:`~mmanchor.models.FoldedReferences`.
    """

    def __init__(self, model: AnchoredImageClassifier, pixels: bool = False):
        super().__init__()
        self.model = FoldedReferences(model)
        self.preprocessor = (
            plain_preprocessor(model.data_preprocessor) if pixels else None
        )
        for module in self.model.modules():
            if hasattr(type(module), 'window_reverse'):
                module.window_reverse = _join_windows

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        if self.preprocessor is not None:
            images = self.preprocessor(dict(inputs=images))['inputs']
        return self.model(images)


def _join_windows(windows, height, width, window_size):
    """Join windows of attention into one map, for any batch size.

    MMPretrain's function converts the batch size to `int`, which would make it
    a constant of the traced program.
    """
    rows, columns = height // window_size, width // window_size
    windows = windows.unflatten(0, (-1, rows, columns))
    return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)


SUFFIXES = ('.onnx', '.pt2')
MIN_OPSET = 18  # PyTorch's exporter implements no older ones
_CHECKED_SIZES = (1, 3, 5)


def export_checkpoint(
    cfg: Config,
    checkpoint: str,
    out: str | Path,
    num_references: int | None = None,
    opset: int | None = None,
    batch_size: int = 2,
    pixels: bool = False,
    allow_code: bool = False,
) -> tuple[Comparison, str]:
    """Export a checkpoint, and compare the file with the anchored model.

    Args:
        out (str | Path): The file to write, ``.onnx`` or ``.pt2``.
        num_references (int, optional): K. Defaults to None: the number in the
            config's ``KReferenceHook``, or else all references of the
            checkpoint.

    Returns:
        Tuple[Comparison, str]: The difference of logits, and a description of
        the file's input.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ImportError: A package of the extra ``[export]`` is missing.
        ValueError: See :func:`~..checkpoints.model_loading.load_anchored` and
            :func:`export_model`; or the checkpoint has fewer than K
            references, or test images have another size.
    """
    _check_arguments(out, opset, batch_size)
    model, _ = load_anchored(cfg, checkpoint, allow_code)
    configured_k, model.protocol = _references_and_protocol(cfg)
    model.reference_bank.use(
        configured_k if num_references is None else num_references
    )
    images, description = comparison_images(cfg, model.reference_bank.in_use)
    error = export_model(model, out, images, opset, batch_size, pixels)
    example = _model_input(model, images, pixels)
    kind = 'pixels as the test pipeline packs them' if pixels else 'normalised'
    shape = ', '.join(map(str, example.shape[1:]))
    dtype = str(example.dtype).rpartition('.')[2]
    return Comparison(error, description), f'(batch, {shape}), {dtype}, {kind}'


def export_model(
    model: AnchoredImageClassifier,
    out: str | Path,
    images: torch.Tensor,
    opset: int | None = None,
    batch_size: int = 2,
    pixels: bool = False,
) -> float:
    """Write a model with its references as constants, and test the file.

    The file's input is ``images`` and its output ``logits``, with any batch
    size. It contains :class:`~mmanchor.models.FoldedReferences`, which with
    one reference costs as much as a plain model.

    Args:
        model (AnchoredImageClassifier): The model, which uses the references
            to export. It is not changed.
        out (str | Path): The file to write: ``.onnx``, or ``.pt2`` for
            ``torch.export``.
        images (torch.Tensor): At least five images, not normalised, on which
            the file is compared with the model, in batches of two sizes other
            than the traced one. The file contains nothing of them.
        opset (int, optional): ONNX operator set. Defaults to None: PyTorch's
            default.
        batch_size (int): Size of the traced batch, at least 2. Defaults to 2.
        pixels (bool): Whether the file normalises its input itself, and takes
            images as the test pipeline packs them, of the references' type
            (usually uint8). Defaults to False: the input is normalised.

    Shape:
        - images: (B, C, H, W)

    Returns:
        float: The largest difference of logits, divided by the largest logit.

    Raises:
        ImportError: A package of the extra ``[export]`` is missing.
        ValueError: The file's suffix, ``opset`` or ``batch_size`` is out of
            range, the backbone can't be exported, or the file answers
            differently. Nothing is written then.
    """
    out = Path(out)
    _check_arguments(out, opset, batch_size)
    model, images = copy.deepcopy(model).cpu().eval(), images.cpu()
    form = ExportableModel(model, pixels).eval().requires_grad_(False)
    inputs = _model_input(model, images, pixels)
    with torch.no_grad():
        expected = model(_model_input(model, images, pixels=False))
    # Trace a blank batch, because the file contains the traced images.
    program = _trace(
        form,
        torch.zeros_like(inputs[:1]).expand(batch_size, -1, -1, -1).clone(),
        type(model.backbone).__name__,
    )
    with whole_files(out.parent) as partial:
        path = partial / out.name
        if out.suffix == '.onnx':
            run = _write_onnx(program, path, opset)
        else:
            torch.export.save(program, path)
            run = torch.export.load(path).module()
        sizes = [size for size in _CHECKED_SIZES if size != batch_size]
        error = max(
            relative_difference(run, expected, inputs, size)
            for size in sizes[:2]
        )
        check_difference(error, out.name)
    return error


def _model_input(model, images, pixels):
    if pixels:
        return images
    return model.data_preprocessor(dict(inputs=images))['inputs']


def _check_arguments(out, opset, batch_size) -> None:
    """Raise for invalid arguments before a model is loaded."""
    suffix = Path(out).suffix
    if suffix not in SUFFIXES:
        raise ValueError(
            f'Expected a file name that ends in .onnx (ONNX) or .pt2 '
            f'(torch.export), but got {str(out)!r}. Change its ending.'
        )
    if batch_size < 2:
        raise ValueError(
            'Expected a `batch_size` of at least 2 to trace, because PyTorch '
            f'treats 1 as a constant, but got {batch_size}. Raise it: the '
            'file accepts batches of any size.'
        )
    if suffix == '.onnx':
        _import_onnx()
        if opset is not None and opset < MIN_OPSET:
            raise ValueError(
                f'Expected `opset` to be at least {MIN_OPSET}, the oldest '
                f"that PyTorch's exporter writes, but got {opset}. Raise "
                '`opset`, or omit it.'
            )
    elif opset is not None:
        raise ValueError(
            f'Expected `opset` only with a file that ends in .onnx, but got '
            f'{str(out)!r}. Omit `opset`, or change the ending.'
        )


def _import_onnx():
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'Expected onnx, onnxscript and onnxruntime, which write and test '
            f'ONNX files, but got: {error}. Install them with `pip install '
            '"mmanchor[export]"`, or export to .pt2, which needs none of them.'
        ) from error
    return onnxruntime


def _trace(form, example, backbone) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(
            form,
            (example,),
            dynamic_shapes=({0: torch.export.Dim('batch')},),
            strict=False,
        )
    except Exception as error:  # a backbone's code may raise anything
        raise ValueError(
            'Expected a backbone that torch.export can trace with a batch of '
            f'any size, but got {backbone}, and this error: {error}\nUse the '
            'model in PyTorch.'
        ) from error


def _write_onnx(program, path, opset) -> Callable:
    """Write a file, and return a function that runs it."""
    onnxruntime = _import_onnx()
    try:
        written = torch.onnx.export(
            program,
            input_names=['images'],
            output_names=['logits'],
            dynamic_shapes=({0: 'batch'},),
            opset_version=opset,
            verbose=False,
        )
        written.save(path)
        session = onnxruntime.InferenceSession(
            str(path), providers=['CPUExecutionProvider']
        )
    except Exception as error:  # exporter and runtime raise many types
        raise ValueError(
            "Expected a model that PyTorch's ONNX exporter can write and "
            f'onnxruntime can run, but got: {error}\nChange `opset`, or '
            'export to .pt2.'
        ) from error
    got = written.model.opset_imports['']
    if opset not in (None, got):
        raise ValueError(
            f"Expected PyTorch's exporter to write opset {opset}, but got "
            f'{got}. Change `opset` to {got}.'
        )

    def run(images):
        (logits,) = session.run(['logits'], {'images': images.numpy()})
        return torch.from_numpy(logits)

    return run


def _references_and_protocol(cfg) -> tuple[int | None, Protocol]:
    """Read K and the protocol; a single reference is a mean of one."""
    hook = next(iter(reference_hooks(cfg)), None)
    if hook is None:
        return None, build_protocol('mean')
    protocol = build_protocol(hook.get('protocol', 'mean'))
    if protocol.name == 'single':
        return 1, build_protocol('mean')
    return hook.get('num_references', 1), protocol
