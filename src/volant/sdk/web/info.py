"""What is known of a server: `server.info()`."""

from __future__ import annotations

from volant.sdk.calls.autoscaler import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.calls.calling import Binding


class ServerInfo(Record):
    """A server, as its hub knows it."""

    __slots__ = ("name", "object_id", "url")

    def __init__(self, binding: Binding) -> None:
        #: As it is called in its app.
        self.name = binding.name
        #: Its id, the same in all versions of a deployed app.
        self.object_id = binding.function_id
        #: Where it answers.
        self.url = binding.urls.get(None)


class GetInfo:
    """`server.info()` and its `.aio`; they ask at most what a look-up asks once."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Callable[[], Binding]) -> None:
        self._bound = bound

    def __call__(self) -> ServerInfo:
        return ServerInfo(self._bound())

    async def aio(self) -> ServerInfo:
        return self()
