"""Stand-ins for names of the programming model whose feature does not exist yet."""

from __future__ import annotations

from volant.errors import UnimplementedError


class Planned:
    """Raises `UnimplementedError` as soon as it is used for anything."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: object, **kwargs: object) -> object:
        raise unimplemented(f"`volant.{self.__name__}`")

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise unimplemented(f"`volant.{self.__name__}.{attribute}`")

    def __repr__(self) -> str:
        return f"<volant.{self.__name__}, not implemented yet>"


def unimplemented(what: str) -> UnimplementedError:
    """The error for a feature that is known and not there yet."""
    return UnimplementedError(
        f"{what} is not implemented yet", hint="README.md lists what works today"
    )
