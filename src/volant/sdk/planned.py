"""Stand-ins for names of the programming model whose feature does not exist yet."""

from __future__ import annotations

from volant.errors import UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from volant.sdk.generics import T


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

    def __instancecheck__(self, instance: object) -> bool:
        """Nothing is an instance of what is not there: programs that sort things go on."""
        return False

    def __or__(self, other: object) -> Planned:
        """Annotations such as `Proxy | None` only mention it."""
        return self

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<{self.__name__}, not implemented yet>"


class Former:
    """A member that programs of old ask for: it is not there, and the error says what is.

    To `hasattr` it is no member. Whoever asks for it on an instance gets the same answer.
    """

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, instance: object, owner: type) -> NoReturn:
        instead = self._instead.replace("{}", owner.__name__)
        raise AttributeError(f"`{owner.__name__}.{self._name}` is no more: write `{instead}`")


def former(**members: str) -> Callable[[T], T]:
    """Have a class say what to write in place of members that went.

    Args:
        members: their names, and what to write now; `{}` stands for the class that is asked.
    """

    def add(cls: T) -> T:
        for name, instead in members.items():
            setattr(cls, name, Former(name, instead))
        return cls

    return add


def planned_module(module: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a public module of which nothing is there yet."""

    def getattribute(name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise unimplemented(f"`{module}.{name}`")

    return getattribute


#: Words of names that are not there -> what there is instead, or why there is nothing.
_INSTEAD = {
    "NetworkFileSystem": "files that outlive containers are in a `Volume`",
    "Proxy": "containers reach others from this machine's own addresses",
    "SchedulerPlacement": "there is one machine: leave it out",
    "Workspace": "a home has one user; `volant token` makes tokens for web functions",
    "billing": "there are no prices: the machine is your own",
    "flash_forward": "write a class with `@app.server()`",
    "get_fabric_peers": "there is one machine; `Cluster.from_context()` knows its containers",
    "http_server": "write a class with `@app.server()`",
    "roles": "a home has one user, who may do everything",
}


def unimplemented(what: str) -> UnimplementedError:
    """The error for a feature that is known and not there yet."""
    words = what.strip("`").replace("(", ".").split(".")
    instead = [_INSTEAD[word] for word in words if word in _INSTEAD]
    return UnimplementedError(
        f"{what} is not implemented yet",
        hint=instead[0] if instead else "README.md lists what works today",
    )
