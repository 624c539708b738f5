"""What can't be measured, noted while the rest of a suite goes on."""

from collections.abc import Callable

from .cache import CannotKeep


class Troubles:
    """Notes what sets lack, so that the rest of a suite goes on."""

    def __init__(self):
        self.missing: dict[str, str] = {}
        self.failed: list[dict] = []

    def attempt(
        self, model: str | None, name: str, function: Callable, doing: str = ''
    ):
        """What a function returns; None where a set makes it fail.

        Args:
            model (str, optional): Whose name to note; None if it is no
                model's fault.
            name (str): The set.
            function (Callable): Called unless the set is known to be missing.
            doing (str): What to put before the name of the set where the
                function fails. Defaults to nothing.
        """
        if name in self.missing:
            return None
        try:
            return function()
        except FileNotFoundError as error:
            self.missing[name] = str(error)
        except (ImportError, CannotKeep):  # whatever the set
            raise
        except Exception as error:  # what others raise of bad files, say
            self.note(model, doing + name, error)
        return None

    def note(self, model: str | None, name: str, error: Exception) -> None:
        """Note what failed, once."""
        reason = str(error)
        if not isinstance(error, (ValueError, OSError)):
            reason = f'{type(error).__name__}: {reason}'
        found = dict(model=model, name=name, reason=reason)
        if found not in self.failed:
            self.failed.append(found)
