"""The stem: the layers that read the image, widened from C to 2C channels."""

import copy
import warnings
from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import nn


def find_stem(
    backbone: nn.Module, names: Sequence[str] | None = None
) -> dict[str, nn.Conv2d]:
    """Find the convolutions that read the image.

    The first convolution in the order of registration determines the number
    of image channels C. If others have C input channels, a forward pass shows
    which of them read the image (as RepVGG's two branches do) and which read
    the output of another layer.

    Args:
        backbone (torch.nn.Module): The backbone.
        names (Sequence[str], optional): Names of the layers, as in
            ``backbone.named_modules()``, if the rule above is wrong.

    Returns:
        Dict[str, torch.nn.Conv2d]: Layers by name, all with C input channels.

    Raises:
        ValueError: There is no such layer, or it can't be widened.

    Example:
        >>> list(find_stem(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())))
        ['0']
    """
    convs = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    if isinstance(names, str):
        raise ValueError(
            'Expected `stem` to be a list of names, but got '
            f'{names!r}. Write `stem=[{names!r}]`.'
        )
    if names is not None:
        wrong = [name for name in names if name not in convs]
        if wrong or not names:
            raise ValueError(
                'Expected `stem` to name convolutions of '
                f'{type(backbone).__name__}, but got {wrong or names}. Its '
                f'convolutions are: {", ".join(convs) or "none"}.'
            )
        stem = {name: convs[name] for name in names}
    else:
        if not convs:
            raise ValueError(
                f'Expected {type(backbone).__name__} to read the image with '
                'a convolution, but it has none. Build it for 2C channels '
                'and set `stem=[]` and `image_channels=C`.'
            )
        channels = next(iter(convs.values())).in_channels
        stem = {
            name: conv
            for name, conv in convs.items()
            if conv.in_channels == channels
        }
        if len(stem) > 1:
            stem = _reading_the_image(backbone, stem, channels)
    grouped = [name for name, conv in stem.items() if conv.groups != 1]
    if grouped:
        raise ValueError(
            'Expected the layers that read the image to have one group, but '
            f'{", ".join(grouped)} of {type(backbone).__name__} have more. '
            'Name the layers that read the image with `stem=[...]`.'
        )
    if len({conv.in_channels for conv in stem.values()}) > 1:
        channels = {name: conv.in_channels for name, conv in stem.items()}
        raise ValueError(
            'Expected the layers named by `stem` to read the same number of '
            f'channels, but got {channels}.'
        )
    return stem


def _reading_the_image(backbone, candidates, channels):
    """The candidates whose input does not depend on any parameter."""
    reading = []

    def look(conv, args, kwargs):
        (image,) = (*args, *kwargs.values())
        # inside of no_grad no tensor needs a gradient, image or not
        if torch.is_grad_enabled() and not image.requires_grad:
            reading.append(conv)

    hooks = [
        conv.register_forward_pre_hook(look, with_kwargs=True)
        for conv in candidates.values()
    ]
    error = None
    try:
        with _all_parameters_trained(backbone):
            error = _try_forward(backbone, channels)
    finally:
        for hook in hooks:
            hook.remove()
    if error or not reading:
        raise ValueError(
            f'Expected a forward pass of {type(backbone).__name__} to show '
            f'which of its layers with {channels} input channels read the '
            f'image ({", ".join(candidates)}), but '
            f'{error or "none of them does"}. Name them with `stem=[...]`.'
        )
    return {k: conv for k, conv in candidates.items() if conv in reading}


@contextmanager
def _all_parameters_trained(module: nn.Module):
    """A context of evaluation in which every parameter needs a gradient."""
    modes = {m: m.training for m in module.modules()}
    trained = {p: p.requires_grad for p in module.parameters()}
    module.eval()
    module.requires_grad_(True)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for m, mode in modes.items():
            m.training = mode
        for p, requires_grad in trained.items():
            p.requires_grad_(requires_grad)


def _try_forward(backbone, channels) -> str | None:
    """Run a forward pass at a suitable size, and return an error or None."""
    like = next(backbone.parameters())
    for size in sizes_to_try(backbone, (224, 32)):
        try:
            backbone(like.new_zeros(1, channels, *size))
        except Exception as error:
            failure = f'with images of {size} it failed: {error}'
        else:
            return None
    return failure


def sizes_to_try(
    backbone: nn.Module, sizes: Sequence[int]
) -> list[tuple[int, int]]:
    """List sizes (H, W) for a forward pass, the backbone's own first.

    Args:
        backbone (torch.nn.Module): It may have an ``img_size``.
        sizes (Sequence[int]): Further sizes, of square images.

    Example:
        >>> sizes_to_try(nn.Identity(), (224, 32))
        [(224, 224), (32, 32)]
    """
    own = getattr(backbone, 'img_size', None)
    return [
        tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        for size in ([] if own is None else [own]) + list(sizes)
    ]


def inflate(weight: torch.Tensor) -> torch.Tensor:
    """Copy a stem weight to both halves: ``[W, W]``.

    ``W r + W (x - r) = W x``: the widened layer returns the same as the plain
    one, for every reference.

    Shape:
        - weight: (out, C, ...)
        - output: (out, 2C, ...)

    Example:
        >>> inflate(torch.ones(8, 3, 7, 7)).shape
        torch.Size([8, 6, 7, 7])
    """
    return torch.cat([weight, weight], dim=1)


def widen_stem(
    backbone: nn.Module,
    names: Sequence[str] | None = None,
    keep_weights: bool = False,
) -> dict[str, nn.Conv2d]:
    """Widen the layers that read the image to 2C channels, in place.

    State-dict keys do not change, and loading a C-channel weight into a
    widened layer inflates it, whichever function loads it.

    Args:
        backbone (torch.nn.Module): The backbone.
        names (Sequence[str], optional): See :func:`find_stem`.
        keep_weights (bool): Whether to inflate the present weights rather
            than initialise the layer as PyTorch does for 2C channels.
            Defaults to False.

    Returns:
        Dict[str, torch.nn.Conv2d]: The widened layers by name.

    Raises:
        ValueError: See :func:`find_stem`.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3))
        >>> list(widen_stem(net)), net(torch.zeros(1, 6, 8, 8)).shape[1]
        (['0'], 8)
    """
    stem = find_stem(backbone, names)
    for name, conv in stem.items():
        widen_layer(name, conv, keep_weights)
    return stem


def widen_layer(
    name: str,
    layer: nn.Conv2d | nn.Linear,
    keep_weights: bool = False,
    may_be_new: bool = False,
) -> None:
    """Widen one layer to 2C channels, in place; see :func:`widen_stem`.

    Args:
        name (str): Name of the layer in a warning.
        layer (torch.nn.Conv2d | torch.nn.Linear): Linear in its input, with
            a ``weight`` of shape (out, C, ...).
        keep_weights (bool): Whether to inflate the present weights. Defaults
            to False.
        may_be_new (bool): Whether a checkpoint may lack the layer, as that of
            a backbone lacks a new head, without a warning. Defaults to False.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> widen_layer('fc', layer)
        >>> layer
        Linear(in_features=8, out_features=2, bias=True)
    """
    if (
        isinstance(layer, nn.Conv2d)
        and type(layer) is not nn.Conv2d
        and not _halves_add_up(layer)
    ):
        warnings.warn(
            f'{name} is a {type(layer).__name__}, which is not linear in '
            "its weight: with a plain model's weights it will not return "
            'exactly what that model returns.'
        )
    layer.weight = nn.Parameter(
        inflate(layer.weight.detach()),
        requires_grad=layer.weight.requires_grad,
    )
    _say_channels(layer)
    if not keep_weights:
        layer.reset_parameters()
    layer._register_load_state_dict_pre_hook(
        _inflate_if_loaded if may_be_new else _inflate_on_load,
        with_module=True,
    )


def _say_channels(layer: nn.Conv2d | nn.Linear) -> None:
    """Set the layer's number of channels to that of its weight."""
    name = 'in_channels' if hasattr(layer, 'in_channels') else 'in_features'
    setattr(layer, name, layer.weight.size(1))


@torch.no_grad()
def _halves_add_up(conv) -> bool:
    """Test numerically whether ``[W, W]`` on [r, x - r] equals W on x."""
    with torch.device('cpu'):  # models may be built on another device
        generator = torch.Generator().manual_seed(0)
        plain = copy.deepcopy(conv).to_empty(device='cpu').double()
        for tensor in (*plain.parameters(), *plain.buffers()):
            tensor.fill_(1)
        plain.weight.normal_(generator=generator)
        wide = copy.deepcopy(plain)
        wide.weight = nn.Parameter(inflate(plain.weight))
        size = [2 * d * k for d, k in zip(conv.dilation, conv.kernel_size)]
        shape = (2, 1, conv.in_channels, *size)
        x, r = torch.randn(shape, generator=generator).double()
        return torch.allclose(wide(torch.cat([r, x - r], 1)), plain(x))


def _inflate_on_load(conv, state_dict, prefix, *_):
    key = prefix + 'weight'
    weight = state_dict.get(key)
    if weight is None:
        warnings.warn(
            f'{key}, which reads the image, is not among the weights to load '
            'and stays as it is. Is the checkpoint of another architecture, '
            'or `prefix` wrong?'
        )
        return
    channels = conv.weight.size(1)
    if 2 * weight.size(1) == channels:
        state_dict[key] = inflate(weight)
    elif weight.size(1) != channels:
        raise ValueError(
            f'Expected {key} of the checkpoint to read '
            f'{channels // 2} channels (a plain model) or '
            f'{channels} (an anchored one), but it reads '
            f'{weight.size(1)}. Load a checkpoint for images of '
            f'{channels // 2} channels.'
        )


def _inflate_if_loaded(layer, state_dict, prefix, *args):
    """The same for a head, which may be new on a backbone that is loaded."""
    if prefix + 'weight' in state_dict:
        _inflate_on_load(layer, state_dict, prefix, *args)


def stem_distance(weights: Sequence[torch.Tensor]) -> float:
    """Distance of a stem's halves, relative to the residual's half.

    ``||Wr - Wd|| / ||Wd||`` in the Frobenius norm, over all layers together.
    Since ``Wr r + Wd (x - r) = Wd x + (Wr - Wd) r``, it compares the stem's
    weights for the reference with its weights for the image. At 0 the
    reference has no influence, as after a warm start. Two independent halves
    of equal variance have a distance of about 1.41.

    Args:
        weights (Sequence[torch.Tensor]): Weights of the layers that read the
            anchored image.

    Shape:
        - weights: (out, 2C, ...) each

    Raises:
        ValueError: There is no layer, or one has an odd number of channels.

    Example:
        >>> wr, wd = torch.ones(8, 3, 7, 7), 2 * torch.ones(8, 3, 7, 7)
        >>> stem_distance([torch.cat([wr, wd], 1)])
        0.5
    """
    if not weights or any(one.size(1) % 2 for one in weights):
        raise ValueError(
            'Expected the weights of one layer or more that read 2C channels, '
            f'but got shapes {[tuple(one.shape) for one in weights]}. Pass '
            'those of a widened stem.'
        )
    halves = [one.detach().double().chunk(2, 1) for one in weights]
    apart = torch.cat([(wr - wd).flatten() for wr, wd in halves])
    residual = torch.cat([wd.flatten() for _, wd in halves])
    return (apart.norm() / residual.norm()).item()


def narrow(conv: nn.Conv2d) -> None:
    """Reduce a widened layer to the residual's half, in place.

    Args:
        conv (torch.nn.Conv2d): Widened to 2C channels.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3))
        >>> (conv,) = widen_stem(net).values()
        >>> narrow(conv)
        >>> conv.weight.shape
        torch.Size([8, 3, 3, 3])
    """
    half = conv.weight.detach()[:, conv.weight.size(1) // 2 :].clone()
    conv.weight = nn.Parameter(half, requires_grad=conv.weight.requires_grad)
    _say_channels(conv)
    conv.__dict__.pop('forward', None)  # a layer that anchors features has one
    hooks = conv._load_state_dict_pre_hooks
    for key, hook in list(hooks.items()):
        if getattr(hook, 'hook', hook) in (
            _inflate_on_load,
            _inflate_if_loaded,
        ):
            del hooks[key]
