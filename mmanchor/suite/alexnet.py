"""Which set of a suite has errors to compare with AlexNet's."""

from ..datasets import C_KINDS, SEVERITIES
from .spec import Suite, SuiteSet


def set_for_mce(suite: Suite) -> SuiteSet:
    """ImageNet-C, as much of it as mean corruption errors are of.

    Raises:
        ValueError: The suite lacks it, or some of its kinds or severities.
    """
    for one in suite.shifts:
        if (
            one.dataset['type'].endswith('ImageNetC')
            and set(C_KINDS) <= set(one.all_kinds)
            and set(one.severities) == set(SEVERITIES)
        ):
            return one
    raise ValueError(
        f'Expected a suite with ImageNet-C, {len(C_KINDS)} kinds or more at '
        f'{len(SEVERITIES)} severities, for --mce, but got {suite.title}. '
        'Change the suite, or leave --mce out.'
    )
