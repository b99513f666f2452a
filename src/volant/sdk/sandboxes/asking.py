"""Questions of sandboxes that are more than a request and its reply: descriptors, and pipes.

Both stand in for `Question`, so that methods are written once for blocking and for asyncio.
"""

from __future__ import annotations

import os
import select

from volant.channel import current
from volant.channel.waiter import RequestWaiter, raise_reply_error
from volant.errors import ConnectionError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.generics import Generic, P, R
from volant.sdk.objects.asking import Question, awaited, blocking
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.sdk.objects.asking import Steps

#: What one read from a pipe takes.
READ_BYTES = 256 << 10


class both_of_class(Generic[P, R]):  # a decorator
    """`both` for what belongs to the class and has no instance yet."""

    def __init__(self, steps: Callable[P, Steps[R]]) -> None:
        self._steps = steps
        self.__name__ = steps.__name__
        self.__doc__ = steps.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        form = f"Sandbox.{self.__name__}"
        warn_blocking(f"{form}(...)", f"await {form}.aio(...)")
        return blocking(self._steps(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, awaited."""
        return await awaited(self._steps(*args, **kwargs))


class _DescriptorWaiter(RequestWaiter):
    """Waits for a reply, and takes the descriptors that come ahead of it."""

    __slots__ = ("fds",)

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame)
        self.fds: list[int] = []

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        assert fd is not None
        self.fds.append(fd)

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        self.fail(ConnectionError("the connection to the hub was lost, and its sandboxes with it"))
        return []


class AskForDescriptors(Question):
    """A request whose reply comes with descriptors, as `fds`: the caller's to close."""

    __slots__ = ()

    def __init__(self, op: str, **fields: object) -> None:
        super().__init__(op, fields, is_change=False)

    def _waiter(self) -> tuple[Any, int, _DescriptorWaiter]:
        channel = current.channel()
        number = channel.next_number()
        message = {"id": number, "op": self._op, **self._fields}
        waiter = _DescriptorWaiter(frames.control(frames.REQUEST, values.encode(message)))
        channel.register(number, waiter)
        return channel, number, waiter

    def blocking(self) -> dict[str, Any]:
        channel, number, waiter = self._waiter()
        try:
            channel.send(waiter.frame)
            channel.wait(waiter)
            return self._answer(waiter)
        except BaseException:
            _close(waiter.fds)
            raise
        finally:
            channel.unregister(number)

    async def aio(self) -> dict[str, Any]:
        from volant.channel import aio

        channel, number, waiter = self._waiter()
        try:
            channel.send(waiter.frame)
            await aio.wait(channel, waiter)
            return self._answer(waiter)
        except BaseException:
            _close(waiter.fds)
            raise
        finally:
            channel.unregister(number)

    @staticmethod
    def _answer(waiter: _DescriptorWaiter) -> dict[str, Any]:
        raise_reply_error(waiter.reply)
        return {**waiter.reply, "fds": waiter.fds}


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


class ReadPipe(Question):
    """The next bytes of a pipe or a terminal, as `data`; none at its end."""

    __slots__ = ("_from",)

    def __init__(self, fd: int) -> None:
        super().__init__("", {}, is_change=False)
        self._from = fd

    def blocking(self) -> dict[str, Any]:
        while True:
            try:
                return {"data": os.read(self._from, READ_BYTES)}
            except BlockingIOError:  # one that asyncio has used
                _wait(self._from, select.POLLIN)
            except OSError:  # how Linux says that nobody has a terminal open any more
                return {"data": b""}

    async def aio(self) -> dict[str, Any]:
        import asyncio

        os.set_blocking(self._from, False)
        while True:
            try:
                return {"data": os.read(self._from, READ_BYTES)}
            except BlockingIOError:
                await _possible(asyncio.get_running_loop(), self._from, is_read=True)
            except OSError:
                return {"data": b""}


class WritePipe(Question):
    """Writes bytes to a pipe or a terminal, as fast as they are read.

    Raises:
        BrokenPipeError: nobody will read them.
    """

    __slots__ = ("_data", "_to")

    def __init__(self, fd: int, data: bytes) -> None:
        super().__init__("", {}, is_change=False)
        self._to = fd
        self._data = memoryview(data)

    def blocking(self) -> dict[str, Any]:
        while self._data:
            try:
                self._data = self._data[os.write(self._to, self._data) :]
            except BlockingIOError:
                _wait(self._to, select.POLLOUT)
        return {}

    async def aio(self) -> dict[str, Any]:
        import asyncio

        os.set_blocking(self._to, False)
        while self._data:
            try:
                self._data = self._data[os.write(self._to, self._data) :]
            except BlockingIOError:
                await _possible(asyncio.get_running_loop(), self._to, is_read=False)
        return {}


def _wait(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()


async def _possible(loop: Any, fd: int, *, is_read: bool) -> None:
    future = loop.create_future()
    add, remove = (
        (loop.add_reader, loop.remove_reader) if is_read else (loop.add_writer, loop.remove_writer)
    )
    add(fd, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        remove(fd)
