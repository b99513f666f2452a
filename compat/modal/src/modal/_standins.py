"""What the names of a submodule are that Volant does not have: each says so when it is used.

Names that a program only mentions, in annotations or imports, do no harm.
"""

from __future__ import annotations

from volant import errors
from volant.sdk.planned import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def standins(module: str, *names: str) -> Callable[[str], object]:
    """The `__getattr__` of a submodule.

    Args:
        module: its name.
        names: those that stand for nothing yet. Errors are given out by every submodule, since the
            one that stands here imports those that it raises.
    """

    def getattribute(name: str) -> object:
        if name in names:
            return Planned(f"{module}.{name}")
        found = None if name.startswith("_") else getattr(errors, name, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return getattribute
