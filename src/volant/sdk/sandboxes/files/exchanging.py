"""Questions that a process in a sandbox answers, not the hub: steps on a socket that leads there.

What comes from there is checked as what comes from anybody. An exchange that was broken off in the
middle is closed and never used again.
"""

from __future__ import annotations

import errno
import os
import select
from builtins import ConnectionError as BrokenConnectionError

from volant import errors
from volant.sdk.objects.asking import Question
from volant.wire.exchange import ExchangeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.wire.exchange import Exchange

#: What the kernel of the sandbox answers -> which error that is, as a name of `volant.errors`.
_ERRORS = {
    errno.ENOENT: "NotFound", errno.ENOTDIR: "NotADirectory", errno.EISDIR: "IsADirectory",
    errno.ENOTEMPTY: "DirectoryNotEmpty", errno.EEXIST: "PathAlreadyExists",
    errno.EACCES: "Permission", errno.EPERM: "Permission", errno.EROFS: "Permission",
    errno.EFBIG: "FileTooLarge",
}  # fmt: skip
_TEXTS = {
    errno.EFBIG: "the file is too large for that",
    errno.ENXIO: "it is no file whose content can be read or written as a whole",
}


class RefusedError(Exception):
    """The sandbox has answered with an error of its kernel, and the exchange goes on."""


def refused(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply that is no refusal.

    Raises:
        RefusedError: it is one.
    """
    if "errno" in reply:
        number = reply["errno"]
        raise RefusedError(number if isinstance(number, int) and 0 < number < 4096 else errno.EIO)
    return reply


def failure(path: str, number: int) -> errors.SandboxFilesystemError:
    """The error for a number that the kernel of a sandbox has answered."""
    kind = getattr(errors, f"SandboxFilesystem{_ERRORS.get(number, '')}Error")
    text = _TEXTS.get(number) or os.strerror(number).lower()
    made: errors.SandboxFilesystemError = kind(f"`{path}` in the sandbox: {text}")
    return made


class Work(Question):
    """Some steps on an exchange, whose `result` is in the reply; as a thread for asyncio.

    Raises:
        SandboxFilesystemError: what the sandbox answers, or that it answers no more.
    """

    __slots__ = ("_does", "_exchange", "_path")

    def __init__(self, exchange: Exchange, path: str, does: Callable[[Exchange], Any]) -> None:
        super().__init__("", {}, is_change=False)
        self._exchange = exchange
        self._path = path
        self._does = does

    def blocking(self) -> dict[str, Any]:
        try:
            return {"result": self._does(self._exchange)}
        except RefusedError as error:
            raise failure(self._path, error.args[0]) from None
        except (ExchangeError, BrokenConnectionError) as error:
            self._exchange.close()
            raise errors.SandboxFilesystemError(
                f"`{self._path}`: the sandbox does not answer: {error}",
                hint="it may have ended, or ended what serves its files",
            ) from error
        except BaseException:
            self._exchange.close()
            raise

    async def aio(self) -> dict[str, Any]:
        import asyncio

        working = asyncio.ensure_future(asyncio.to_thread(self.blocking))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self._exchange.shutdown()  # which ends the thread
            await asyncio.wait([working])
            self._exchange.close()
            raise


class Arrival(Question):
    """Waits until something comes; whether it does, as `arrived`, within the time there is."""

    __slots__ = ("_exchange", "_timeout_s")

    def __init__(self, exchange: Exchange, timeout_s: float | None) -> None:
        super().__init__("", {}, is_change=False)
        self._exchange = exchange
        self._timeout_s = timeout_s

    def blocking(self) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._exchange.socket.fileno(), select.POLLIN)
        wait_ms = None if self._timeout_s is None else max(0.0, self._timeout_s * 1000)
        return {"arrived": bool(poll.poll(wait_ms))}

    async def aio(self) -> dict[str, Any]:
        import asyncio

        loop, fd = asyncio.get_running_loop(), self._exchange.socket.fileno()
        came = asyncio.Event()
        loop.add_reader(fd, came.set)
        try:
            await asyncio.wait_for(came.wait(), self._timeout_s)
        except asyncio.TimeoutError:
            return {"arrived": False}
        finally:
            loop.remove_reader(fd)
        return {"arrived": True}
