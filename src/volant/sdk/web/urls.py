"""The addresses of functions that answer to the web, as the hub gives them."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.classes.parameters import VALUES
from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.calls.calling import Binding


class GetWebUrl:
    """`f.get_web_url()` and `f.get_web_url.aio()`; they ask at most what a look-up asks once."""

    __slots__ = ("_bound", "_method", "_parameters")

    def __init__(
        self, bound: Callable[[], Binding], method: str | None, parameters: bytes = b""
    ) -> None:
        """An address to be asked for.

        Args:
            bound: where calls of the function go.
            method: of a class, which one.
            parameters: of an object of the class, as `Parameters.encode` gives them.
        """
        self._bound = bound
        self._method = method
        self._parameters = parameters

    def __call__(self) -> str | None:
        """The address, to which `/path` can be put; None if it does not answer to the web.

        Raises:
            InvalidError: for an object whose parameters no address can have.
        """
        url = self._bound().urls.get(self._method)
        if url is None or not self._parameters:
            return url and url.removesuffix("/")
        return f"{url}?{query_of(self._parameters)}"

    async def aio(self) -> str | None:
        return self()


def query_of(parameters: bytes) -> str:
    """The parameters of an object as a query has them.

    Raises:
        InvalidError: for arguments of a constructor of the user's own, and for dataclasses.
    """
    from urllib.parse import quote, urlencode

    if parameters[:1] != VALUES:
        raise InvalidError(
            "an address cannot have the arguments of an `__init__`",
            hint="make them parameters of the class: volant.parameter()",
        )
    known = values.decode_map(parameters[1:])
    return urlencode({name: _text(name, value) for name, value in known.items()}, quote_via=quote)


def _text(name: str, value: object) -> str | bytes:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        raise InvalidError(
            f"an address cannot have the parameter `{name}`, which is a dataclass",
            hint="give its fields as parameters of their own",
        )
    return value if isinstance(value, bytes) else str(value)
