"""Names of the kinds of corruption in published sets, and their checks."""

from collections.abc import Sequence
from pathlib import Path

SEVERITIES = (1, 2, 3, 4, 5)

# The four groups of Figure 1 in Hendrycks and Dietterich (ICLR 2019). The
# last of each is one of the four extra kinds of their Appendix B.
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
# The kinds of CIFAR-10-C, CIFAR-100-C and ImageNet-C, without the extra ones.
C_KINDS = tuple(kind for group in C_GROUPS.values() for kind in group[:-1])
C_EXTRA_KINDS = tuple(group[-1] for group in C_GROUPS.values())
ALL_C_KINDS = C_KINDS + C_EXTRA_KINDS

# Published sets define how strong severities are. Keys name such a definition
# in configs and flags, and values name it in reports.
IMAGENET_C, CIFAR_C = 'imagenet-c', 'cifar-c'
SETTINGS = {IMAGENET_C: "ImageNet-C's settings", CIFAR_C: "CIFAR-C's settings"}

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
    """Return a kind of corruption; raise if a data set does not have it.

    Args:
        kind (str): The requested kind.
        kinds (Sequence[str]): The kinds of the set.
        name (str): The set's name in the error message.

    Raises:
        ValueError: ``kind`` is not among ``kinds``.
    """
    if kind not in kinds:
        raise ValueError(
            f'Expected `kind` to be one that {name} has, '
            f'{", ".join(kinds)}, but got {kind!r}. Change `kind`.'
        )
    return kind


def check_settings(settings: str) -> str:
    """Return settings of corruptions; raise if ``SETTINGS`` lacks them."""
    if settings not in SETTINGS:
        raise ValueError(
            f'Expected `settings` of corruptions to be {IMAGENET_C} or '
            f'{CIFAR_C}, but got {settings!r}. Change `settings`.'
        )
    return settings


def check_severity(severity: int) -> int:
    """Return a severity; raise if it is not one of 1 to 5."""
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(
            'Expected `severity` to be 1, 2, 3, 4 or 5, but got '
            f'{severity!r}. Change `severity`.'
        )
    return int(severity)


def missing_set_error(
    name: str, layout: str, path: str | Path
) -> FileNotFoundError:
    """Make the error to raise if a path of a data set is not on disk.

    Args:
        name (str): The official name of the set.
        layout (str): The layout of its files.
        path (str | Path): The path that does not exist.
    """
    return FileNotFoundError(
        f'Expected {name} with the layout {layout}, but '
        f'{path} is not there. Download it, or change '
        '`data_root`.'
    )
