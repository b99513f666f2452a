"""The addresses of functions that answer to the web, as the hub gives them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.calls.calling import Binding


class GetWebUrl:
    """`f.get_web_url()` and `f.get_web_url.aio()`; they ask at most what a look-up asks once."""

    __slots__ = ("_bound", "_method")

    def __init__(self, bound: Callable[[], Binding], method: str | None) -> None:
        """`bound`: where calls of the function go; `method`: of a class, which one."""
        self._bound = bound
        self._method = method

    def __call__(self) -> str | None:
        return self._bound().urls.get(self._method)

    async def aio(self) -> str | None:
        return self()
