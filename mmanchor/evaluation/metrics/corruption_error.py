"""Mean corruption error (mCE), the number published for ImageNet-C."""

from ...datasets.shifts.kinds import C_KINDS

# AlexNet's error in percent, mean over five severities, as the authors of
# ImageNet-C measured it. Issue 10 of hendrycks/robustness lists each severity.
# The last four kinds are the extra ones.
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
    """Divide errors on ImageNet-C by AlexNet's, and average over 15 kinds.

    AlexNet itself has 100. For other data sets no errors of AlexNet are
    published, so their mean error is reported without such a division.

    Args:
        errors (dict): The error in percent, mean over the five severities,
            for each kind of corruption. Kinds other than the 15 are ignored.

    Returns:
        float: The mean corruption error in percent; smaller is better.

    Raises:
        ValueError: One of the 15 kinds is missing, or an error is not in
            [0, 100].

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
            f'but got none of {", ".join(missing)}. Test on these kinds too, '
            'or report the mean error instead.'
        )
    for kind in C_KINDS:
        if not 0 <= errors[kind] <= 100:  # also refuses NaN
            raise ValueError(
                'Expected errors from 0 to 100 %, but got '
                f'{errors[kind]!r} for {kind}. Give percentages.'
            )
    relative = [errors[kind] / ALEXNET_ERRORS[kind] for kind in C_KINDS]
    return 100 * sum(relative) / len(relative)
