"""Stand-ins for names of the programming model whose feature does not exist yet."""

from __future__ import annotations

from volant.errors import UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


class Planned:
    """Raises `UnimplementedError`, naming itself, as soon as it is called or asked for a part."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise unimplemented(f"`{self.__name__}`")

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):  # asked for by copy, pickle, inspect, prompts: not by users
            raise AttributeError(attribute)
        raise unimplemented(f"`{self.__name__}.{attribute}`")

    def __repr__(self) -> str:
        return f"<{self.__name__}, not implemented yet>"


def planned_module(module: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a public module of which nothing is there yet."""

    def getattribute(name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise unimplemented(f"`{module}.{name}`")

    return getattribute


def refuse_client(what: str, client: object) -> None:
    """Raise for an argument that nearly every look-up has, and that means nothing yet.

    Raises:
        UnimplementedError: unless it is None.
    """
    if client is not None:
        raise unimplemented(f"{what}(client=...)")


def unimplemented(what: str) -> UnimplementedError:
    """The error for a feature that is known and not there yet."""
    return UnimplementedError(
        f"{what} is not implemented yet", hint="README.md lists what works today"
    )
