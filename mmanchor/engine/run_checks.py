"""What can be found out before a run starts."""

import os
import tempfile

from mmengine.runner import Runner

from ..models import AnchoringDataPreprocessor
from .hooks.k_reference_hook import KReferenceHook
from .reference_source import anchored_model


def check_anchoring(runner: Runner) -> None:
    """Find out early whether what is needed for anchored training is there.

    Raises:
        TypeError: The data preprocessor anchors and the model does not.
        ValueError: The model anchors and nothing fills its reference bank.
    """
    model = runner.model
    model = getattr(model, 'module', model)
    if isinstance(
        getattr(model, 'data_preprocessor', None), AnchoringDataPreprocessor
    ):
        anchored_model(runner)
        if not any(isinstance(hook, KReferenceHook) for hook in runner.hooks):
            raise ValueError(
                'Expected `KReferenceHook` in `custom_hooks` to fill the '
                'reference bank of an anchored model, but there is none. Add '
                "dict(type='KReferenceHook')."
            )


def check_work_dir(work_dir: str) -> None:
    """Find out early whether a work dir can be written to.

    Raises:
        ValueError: It can't.
    """
    check_folder(work_dir, 'a work dir', '--work-dir')


def check_out(path: str) -> None:
    """Find out early whether a file of results can be written.

    Its folder is made if it isn't there.

    Raises:
        ValueError: It can't.
    """
    folder = os.path.dirname(path) or os.curdir
    check_folder(folder, f'a folder of {os.path.basename(path)}', '--out')


def check_folder(folder: str, what: str, flag: str) -> None:
    """Find out early whether a folder can be written to.

    Args:
        folder (str): A path; made if it isn't there.
        what (str): What it is for, in an error.
        flag (str): What names another.

    Raises:
        ValueError: It can't.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f'Expected {what} that can be written to, but '
            f'got {folder}: {error.strerror}. Name another '
            f'with `{flag}`.'
        ) from error
