"""A trained anchored model as ONNX or ``torch.export``; see ``tools/``."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config

from ..checkpoints.model_loading import load_anchored
from ..models import AnchoredImageClassifier
from ..models.inference.protocols import Protocol, build_protocol
from ..utils.config import reference_hooks
from ..utils.files import whole_files
from .compare import Comparison, check_difference, compared_images, difference
from .traceable import ExportedForm

SUFFIXES = ('.onnx', '.pt2')
MIN_OPSET = 18  # PyTorch's exporter has no older implementations
_CHECKED_SIZES = (1, 3, 5)


def write_export(
    cfg: Config,
    checkpoint: str,
    out: str | Path,
    num_references: int | None = None,
    opset: int | None = None,
    batch_size: int = 2,
    pixels: bool = False,
    allow_code: bool = False,
) -> tuple[Comparison, str]:
    """Export a checkpoint and compare the file to the anchored model.

    Args:
        cfg (Config): What the checkpoint was trained with.
        checkpoint (str): An anchored model's.
        out (str | Path): ``.onnx`` or ``.pt2``.
        num_references (int, optional): K. Defaults to None: as many as the
            config's ``KReferenceHook`` says, or all that there are.
        opset (int, optional): See :func:`export_model`.
        batch_size (int): See :func:`export_model`.
        pixels (bool): See :func:`export_model`.
        allow_code (bool): Run the code that the checkpoint holds, if any.
            Defaults to False.

    Returns:
        Tuple[Comparison, str]: How far the logits differ, and what the input
        is.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ImportError: A package of the extra ``[export]`` is missing.
        ValueError: See :func:`~..checkpoints.model_loading.load_anchored` and
            :func:`export_model`; or the checkpoint has fewer references, or
            test images another size.
    """
    _check_request(out, opset, batch_size)
    model, _ = load_anchored(cfg, checkpoint, allow_code)
    configured, model.protocol = _configured(cfg)
    model.reference_bank.use(
        configured if num_references is None else num_references
    )
    images, which = compared_images(cfg, model.reference_bank.in_use)
    found = export_model(model, out, images, opset, batch_size, pixels)
    example = _input(model, images, pixels)
    kind = 'pixels as the test pipeline packs them' if pixels else 'normalised'
    shape = ', '.join(map(str, example.shape[1:]))
    dtype = str(example.dtype).rpartition('.')[2]
    return Comparison(found, which), f'(batch, {shape}), {dtype}, {kind}'


def export_model(
    model: AnchoredImageClassifier,
    out: str | Path,
    images: torch.Tensor,
    opset: int | None = None,
    batch_size: int = 2,
    pixels: bool = False,
) -> float:
    """Write a model with its references as constants, and try the file.

    Input ``images``, output ``logits``, with a batch of any size. What is
    written is :class:`~mmanchor.models.FoldedReferences`: with one reference
    it costs what a plain model costs.

    Args:
        model (AnchoredImageClassifier): With the references to export in
            use; it stays as it is.
        out (str | Path): ``.onnx``, or ``.pt2`` for ``torch.export``.
        images (torch.Tensor): To compare the file to the model on, in batches
            of two sizes other than the traced one; not normalised, at least
            five. None of it is written.
        opset (int, optional): Of ONNX. Defaults to None: PyTorch's default.
        batch_size (int): Of the batch that is traced, at least 2. Defaults to
            2.
        pixels (bool): Whether the file takes images as the test pipeline
            packs them, of the type that the references have (uint8 as a
            rule), and normalises them itself. Defaults to False: normalised
            ones.

    Shape:
        - images: (B, C, H, W)

    Returns:
        float: How far the logits differ, relative to the largest.

    Raises:
        ImportError: A package of the extra ``[export]`` is missing.
        ValueError: The file's suffix, ``opset`` or ``batch_size`` is out of
            range, the exporter can't export the backbone, or the file
            answers otherwise; nothing is written then.
    """
    out = Path(out)
    _check_request(out, opset, batch_size)
    model, images = copy.deepcopy(model).cpu().eval(), images.cpu()
    form = ExportedForm(model, pixels).eval().requires_grad_(False)
    inputs = _input(model, images, pixels)
    with torch.no_grad():
        expected = model(_input(model, images, pixels=False))
    # blank, since what is traced is written too
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
        found = max(
            difference(run, expected, inputs, size) for size in sizes[:2]
        )
        check_difference(found, f'{out.name}')
    return found


def _input(model, images, pixels):
    if pixels:
        return images
    return model.data_preprocessor(dict(inputs=images))['inputs']


def _check_request(out, opset, batch_size) -> None:
    """What can be found out before a model is loaded."""
    suffix = Path(out).suffix
    if suffix not in SUFFIXES:
        raise ValueError(
            f'Expected a file name that ends in .onnx (ONNX) or .pt2 '
            f'(torch.export), but got {str(out)!r}. Change its ending.'
        )
    if batch_size < 2:
        raise ValueError(
            'Expected a `batch_size` of at least 2 to trace, since PyTorch '
            f'takes 1 for a constant, but got {batch_size}. Raise it: the '
            'file takes batches of any size.'
        )
    if suffix == '.onnx':
        _import_onnx()
        if opset is not None and opset < MIN_OPSET:
            raise ValueError(
                f'Expected `opset` to be at least {MIN_OPSET}, the oldest '
                f"that PyTorch's exporter writes, but got {opset}. Raise "
                'it, or leave it out.'
            )
    elif opset is not None:
        raise ValueError(
            f'Expected `opset` with a name that ends in .onnx, but got '
            f'{str(out)!r}. Leave it out, or change the ending.'
        )


def _import_onnx():
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'ONNX files are written by onnx and onnxscript and tried with '
            f'onnxruntime, but: {error}. Install them with `pip install '
            '"mmanchor[export]"`, or export to .pt2, which needs none.'
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
    except Exception as error:  # whatever a backbone's code may raise
        raise ValueError(
            'Expected a backbone that torch.export can trace with a batch of '
            f'any size, but got {backbone}, of which it says: '
            f'{error}\nUse the model in PyTorch.'
        ) from error


def _write_onnx(program, path, opset) -> Callable:
    """Write and open a file; what runs it."""
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
    except Exception as error:  # exporter and runtime have many
        raise ValueError(
            "Expected a model that PyTorch's ONNX exporter can write and "
            f'onnxruntime can run, but got: {error}\nChange `opset`, or '
            'export to .pt2.'
        ) from error
    got = written.model.opset_imports['']
    if opset not in (None, got):
        raise ValueError(
            f"Expected PyTorch's exporter to write opset {opset}, but got "
            f'{got}. Use that one.'
        )

    def run(images):
        (logits,) = session.run(['logits'], {'images': images.numpy()})
        return torch.from_numpy(logits)

    return run


def _configured(cfg) -> tuple[int | None, Protocol]:
    """K and protocol of a config; a single reference is a mean of one."""
    hook = next(iter(reference_hooks(cfg)), None)
    if hook is None:
        return None, build_protocol('mean')
    protocol = build_protocol(hook.get('protocol', 'mean'))
    if protocol.name == 'single':
        return 1, build_protocol('mean')
    return hook.get('num_references', 1), protocol
