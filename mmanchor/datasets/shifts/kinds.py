"""Kinds of corruption, by the names of the published sets."""

from collections.abc import Sequence
from pathlib import Path

SEVERITIES = (1, 2, 3, 4, 5)

# of CIFAR-10-C, CIFAR-100-C and ImageNet-C
C_KINDS = (
    'gaussian_noise',
    'shot_noise',
    'impulse_noise',
    'defocus_blur',
    'glass_blur',
    'motion_blur',
    'zoom_blur',
    'snow',
    'frost',
    'fog',
    'brightness',
    'contrast',
    'elastic_transform',
    'pixelate',
    'jpeg_compression',
)
C_EXTRA_KINDS = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
ALL_C_KINDS = C_KINDS + C_EXTRA_KINDS

# How strong a severity is, by the set whose numbers it has; how reports call
# them.
IMAGENET_C, CIFAR_C = 'imagenet-c', 'cifar-c'
SETTINGS = {IMAGENET_C: "ImageNet-C's settings", CIFAR_C: "CIFAR-C's settings"}

# the four groups of Hendrycks and Dietterich (ICLR 2019), Figure 1, each with
# its kind from the four extra ones (their Appendix B)
C_GROUPS = dict(
    noise=('gaussian_noise', 'shot_noise', 'impulse_noise', 'speckle_noise'),
    blur=(
        'defocus_blur',
        'glass_blur',
        'motion_blur',
        'zoom_blur',
        'gaussian_blur',
    ),
    weather=('snow', 'frost', 'fog', 'brightness', 'spatter'),
    digital=(
        'contrast',
        'elastic_transform',
        'pixelate',
        'jpeg_compression',
        'saturate',
    ),
)

# so spelt in the files; those of CIFAR and ImageNet differ
CIFAR_C_BAR_KINDS = (
    'blue_noise_sample',
    'brownish_noise',
    'checkerboard_cutout',
    'circular_motion_blur',
    'inverse_sparkles',
    'lines',
    'pinch_and_twirl',
    'ripple',
    'sparkles',
    'transverse_chromatic_abberation',
)
IMAGENET_C_BAR_KINDS = (
    'blue_noise_sample',
    'brownish_noise',
    'caustic_refraction',
    'checkerboard_cutout',
    'cocentric_sine_waves',
    'inverse_sparkles',
    'perlin_noise',
    'plasma_noise',
    'single_frequency_greyscale',
    'sparkles',
)


def check_kind(kind: str, kinds: Sequence[str], name: str) -> str:
    """Refuse a kind of corruption that a set does not have.

    Args:
        kind (str): As it was asked for.
        kinds (Sequence[str]): Those the set has.
        name (str): Of the set, for the message.

    Raises:
        ValueError: ``kind`` is not among ``kinds``.

    Example:
        >>> check_kind('fog', C_KINDS, 'ImageNet-C')
        'fog'
    """
    if kind not in kinds:
        raise ValueError(
            f'Expected `kind` to be one that {name} has, '
            f'{", ".join(kinds)}, but got {kind!r}. Change it.'
        )
    return kind


def check_settings(settings: str) -> str:
    """Refuse settings that are not known.

    Raises:
        ValueError: They are not in ``SETTINGS``.

    Example:
        >>> check_settings('cifar-c')
        'cifar-c'
    """
    if settings not in SETTINGS:
        raise ValueError(
            f'Expected `settings` of corruptions to be {IMAGENET_C} or '
            f'{CIFAR_C}, but got {settings!r}. Change it.'
        )
    return settings


def check_severity(severity: int) -> int:
    """Refuse a severity that is not one of 1 to 5.

    Raises:
        ValueError: It is not.

    Example:
        >>> check_severity(5)
        5
    """
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(
            'Expected `severity` to be 1, 2, 3, 4 or 5, but got '
            f'{severity!r}. Change it.'
        )
    return int(severity)


def missing_set_error(
    name: str, layout: str, path: str | Path
) -> FileNotFoundError:
    """The error to raise where a set is not on disk.

    Args:
        name (str): The set's official name.
        layout (str): How its files are laid out.
        path (str | Path): What was looked for.

    Returns:
        FileNotFoundError: With a message that says all three.
    """
    return FileNotFoundError(
        f'Expected {name} with the layout {layout}, but '
        f'{path} is not there. Download it, or change '
        '`data_root`.'
    )
