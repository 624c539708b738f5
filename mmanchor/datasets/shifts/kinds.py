"""Names of the kinds of corruption in published sets, and their checks."""

from collections.abc import Sequence
from pathlib import Path

SEVERITIES = (1, 2, 3, 4, 5)

# The kinds of CIFAR-10-C, CIFAR-100-C and ImageNet-C.
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

# Published sets define how strong severities are. Keys name such a definition
# in configs and flags, and values name it in reports.
IMAGENET_C, CIFAR_C = 'imagenet-c', 'cifar-c'
SETTINGS = {IMAGENET_C: "ImageNet-C's settings", CIFAR_C: "CIFAR-C's settings"}

# The four groups of Figure 1 in Hendrycks and Dietterich (ICLR 2019). Each has
# one of the four extra kinds of their Appendix B.
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

# The spelling is that of the published files. CIFAR and ImageNet differ.
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


def check_corruption_kind(kind: str, kinds: Sequence[str], name: str) -> str:
    """Raise if a data set does not have a kind of corruption.

    Args:
        kind (str): The requested kind.
        kinds (Sequence[str]): The kinds of the set.
        name (str): The set's name in the error message.

    Raises:
        ValueError: ``kind`` is not among ``kinds``.

    Example:
        >>> check_corruption_kind('fog', C_KINDS, 'ImageNet-C')
        'fog'
    """
    if kind not in kinds:
        raise ValueError(
            f'Expected `kind` to be one that {name} has, '
            f'{", ".join(kinds)}, but got {kind!r}. Change `kind`.'
        )
    return kind


def check_settings(settings: str) -> str:
    """Raise if settings of corruptions are unknown.

    Raises:
        ValueError: The settings are not in ``SETTINGS``.

    Example:
        >>> check_settings('cifar-c')
        'cifar-c'
    """
    if settings not in SETTINGS:
        raise ValueError(
            f'Expected `settings` of corruptions to be {IMAGENET_C} or '
            f'{CIFAR_C}, but got {settings!r}. Change `settings`.'
        )
    return settings


def check_severity(severity: int) -> int:
    """Raise if a severity is not one of 1 to 5.

    Raises:
        ValueError: The severity is out of range.

    Example:
        >>> check_severity(5)
        5
    """
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(
            'Expected `severity` to be 1, 2, 3, 4 or 5, but got '
            f'{severity!r}. Change `severity`.'
        )
    return int(severity)


def missing_set_error(
    name: str, layout: str, path: str | Path
) -> FileNotFoundError:
    """Make the error to raise if a data set is not on disk.

    Args:
        name (str): The official name of the set.
        layout (str): The layout of its files.
        path (str | Path): The path that does not exist.

    Returns:
        FileNotFoundError: An error whose message contains all three.
    """
    return FileNotFoundError(
        f'Expected {name} with the layout {layout}, but '
        f'{path} is not there. Download it, or change '
        '`data_root`.'
    )
