"""Changes of a config, refused where they would change nothing."""

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from ..utils.names import did_you_mean, named_arguments

# what the runner and the tools read from a config besides the arguments
_TOP = (
    'activation_checkpointing',
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)


def override(cfg: Config, options: dict, of: str) -> None:
    """Put values into a config, each in place of what is there.

    Args:
        cfg (Config): Changed.
        options (dict): Values by path, as ``{'model.backbone.depth': 18}``;
            the place of a list is a number. A dict replaces a whole one.
        of (str): Who wants it, for errors.

    Raises:
        ValueError: A path leads nowhere in the config.

    Example:
        >>> cfg = Config(dict(model=dict(head=dict(num_classes=10))))
        >>> override(cfg, {'model.head.num_classes': 5}, 'mine')
        >>> cfg.model.head.num_classes
        5
    """
    for path, value in options.items():
        *above, last = path.split('.')
        place = cfg
        for i, key in enumerate(above):
            place = _inside(place, key, path, '.'.join(above[:i]), of)
        if isinstance(place, list):
            last = _inside(place, last, path, '.'.join(above), of, False)
        elif not isinstance(place, (dict, Config)):
            raise ValueError(
                f'Expected `{path}`, which {of} sets, to be a place in its '
                f'config, but `{".".join(above)}` is {place!r}. Change the '
                'path.'
            )
        elif not above and last not in cfg and last not in _names_at_top():
            raise ValueError(_unknown(last, path, 'the config', of, list(cfg)))
        place[last] = ConfigDict(value=value).value


def _inside(
    place: Any, key: str, path: str, above: str, of: str, descend: bool = True
) -> Any:
    """What is at a key, or for a list its number if not to descend."""
    where = f'`{above}`' if above else 'the config'
    if isinstance(place, (list, tuple)):
        known = [str(i) for i in range(len(place))]
        if key in known:
            return place[int(key)] if descend else int(key)
    elif isinstance(place, (dict, Config)):
        known = list(place)
        if key in known:
            return place[key]
    else:
        known = []
    raise ValueError(_unknown(key, path, where, of, known))


def _unknown(
    key: str, path: str, where: str, of: str, known: list[str | int]
) -> str:
    there = ', '.join(map(str, known)) or 'nothing'
    advice = did_you_mean(key, known, f'There is {there}.', at_most=3)
    return (
        f'Expected `{path}`, which {of} sets, to be a place in its '
        f'config, but {where} has no {key!r}. {advice}'
    )


def _names_at_top() -> list[str]:
    return [*named_arguments(Runner), *_TOP]
