"""The number published for ImageNet-C: mean corruption error."""

from ...datasets.shifts.kinds import C_KINDS

# AlexNet's errors in %, means over five severities: the authors' (issue 10 of
# hendrycks/robustness has each severity). The last four are the extra kinds.
ALEXNET_ERRORS = dict(
    gaussian_noise=88.6428,
    shot_noise=89.4468,
    impulse_noise=92.2640,
    defocus_blur=81.9880,
    glass_blur=82.6268,
    motion_blur=78.5948,
    zoom_blur=79.8360,
    snow=86.6816,
    frost=82.6572,
    fog=81.9324,
    brightness=56.4592,
    contrast=85.3204,
    elastic_transform=64.6056,
    pixelate=71.7840,
    jpeg_compression=60.6500,
    speckle_noise=84.5388,
    gaussian_blur=78.7108,
    spatter=71.7512,
    saturate=65.8248,
)


def mean_corruption_error(errors: dict[str, float]) -> float:
    """Errors on ImageNet-C over AlexNet's, mean over the 15 kinds.

    100 is AlexNet's (torchvision's). Other data sets have no such number:
    their mean error is given as it is.

    Args:
        errors (dict): From kinds of corruption to the mean error over the
            five severities, in %. Other kinds than the 15 are ignored.

    Returns:
        float: In %; smaller is better.

    Raises:
        ValueError: One of the 15 kinds is missing, or an error is not from 0
            to 100.

    Example:
        >>> round(mean_corruption_error({kind: 50 for kind in C_KINDS}), 2)
        64.67

    Source: Hendrycks and Dietterich, Benchmarking Neural Network Robustness
    to Common Corruptions and Perturbations, ICLR 2019.
    """
    missing = [kind for kind in C_KINDS if kind not in errors]
    if missing:
        raise ValueError(
            f'Expected the errors of all {len(C_KINDS)} kinds of corruption, '
            f'but got none of {", ".join(missing)}. Change to a test of '
            'these too, or give the mean error instead.'
        )
    for kind in C_KINDS:
        if not 0 <= errors[kind] <= 100:  # nor is NaN
            raise ValueError(
                'Expected errors from 0 to 100 %, but got '
                f'{errors[kind]!r} of {kind}. Change it.'
            )
    relative = [errors[kind] / ALEXNET_ERRORS[kind] for kind in C_KINDS]
    return 100 * sum(relative) / len(relative)
