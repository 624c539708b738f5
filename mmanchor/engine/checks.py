"""What can be found out before a run starts."""
import os
import tempfile

from mmengine.runner import Runner

from ..models import AnchoringDataPreprocessor
from .k_reference_hook import KReferenceHook
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
            getattr(model, 'data_preprocessor', None),
            AnchoringDataPreprocessor):
        anchored_model(runner)
        if not any(isinstance(hook, KReferenceHook) for hook in runner.hooks):
            raise ValueError(
                'Expected `KReferenceHook` in `custom_hooks` to fill the '
                'reference bank of an anchored model, but there is none. Add '
                "dict(type='KReferenceHook').")


def check_work_dir(work_dir: str) -> None:
    """Find out early whether a work dir can be written to.

    Raises:
        ValueError: It can't.
    """
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise ValueError(f'Expected a work dir that can be written to, but '
                         f'got {work_dir}: {error.strerror}. Name another '
                         'with `--work-dir`.') from error
