"""Making calls: arguments to frames, frames to results; the blocking and the asyncio way.

A `Binding` is what turns a described function into a callable one: the channel of a running
app and the number that the function has there.
"""

from __future__ import annotations

import sys

from volant import _context, ids
from volant.channel.waiters import CallWaiter, SpawnWaiter, StreamWaiter
from volant.errors import SerializationError
from volant.wire import frames, values
from volant.wire.frames import HAS_FD, LAST, METHOD_SHIFT, OPEN, RETAIN, STREAM, SUBMIT
from volant.wire.payloads import dumps, dumps_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import Any

    from volant.channel.channel import Channel
    from volant.sdk.calls.variants import Variant


class Binding:
    """Where the calls of one function go."""

    __slots__ = (
        "channel", "environment", "function_id", "local_path", "methods", "name", "number", "pool",
        "scaling", "urls", "variants",
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        number: int,
        name: str,
        local_path: Callable[[str], str | None] | None,
        function_id: str | None = None,
    ) -> None:
        self.channel = channel
        self.number = number
        self.name = name
        self.local_path = local_path
        #: That of its app where another was said than that of this process.
        self.environment: str | None = None
        #: Its id (`fu-…`), None where the hub was not asked.
        self.function_id = function_id
        #: Whose files arguments are written to: containers of one function read them.
        self.pool = f"{channel.session}/{number}"
        #: Of a class: where the calls of each of its methods go, by their index.
        self.methods: dict[int, Binding] = {}
        #: Pools of their own with other options or parameters: see `variants`.
        self.variants: dict[bytes, Variant] = {}
        #: What this client has told its autoscaler, as control messages carry it.
        self.scaling: dict[str, object] = {}
        #: Where it answers to the web, by the methods of a class; None is the function itself.
        self.urls: dict[str | None, str] = {}

    def set_urls(self, rows: Iterable[tuple[str, str | None, str]]) -> None:
        """Note its addresses among those of its app: function, method and address each."""
        self.urls = {method: url for function, method, url in rows if function == self.name}

    def method(self, index: int) -> Binding:
        """Where the calls of one method of a class go."""
        found = self.methods.get(index)
        if found is None:
            number = self.number | index << METHOD_SHIFT
            found = Binding(self.channel, number, self.name, self.local_path, self.function_id)
            found.environment = self.environment
            found.pool = self.pool
            found.scaling = self.scaling
            self.methods[index] = found
        return found


def dump_arguments(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    pool: str | None = None,
    index: int | None = None,
) -> tuple[int, bytes, int | None]:
    """Pickle the arguments of one input, of a map if it has an index.

    Raises:
        SerializationError: naming the argument that cannot be pickled.
    """
    try:
        return dumps_arguments(args, kwargs, pool)
    except Exception as error:
        which = f"`{name}`" if index is None else f"`{name}`, at index {index} of its inputs,"
        raise _unpicklable(which, args, kwargs, error) from error


def _unpicklable(
    which: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> SerializationError:
    labelled = [(f"argument {position}", value) for position, value in enumerate(args)]
    labelled += [(f"argument `{key}`", value) for key, value in kwargs.items()]
    for label, value in labelled:
        try:
            _, _, fd = dumps(value)
            if fd is not None:
                import os

                os.close(fd)
        except Exception as cause:  # noqa: BLE001  # pickling runs user code
            return SerializationError(
                f"{label} of {which} cannot be pickled: "
                f"{type(value).__name__}: {type(cause).__name__}: {cause}",
                hint="pass plain data, and open files, connections or locks inside the function",
            )
    return SerializationError(f"the arguments of {which} cannot be pickled: {error}")


def submit_frame(
    binding: Binding, number: int, flags: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, int | None]:
    """The frame that makes a call of one input, and the descriptor that goes with it."""
    pool = None if flags else binding.pool  # only what is waited for is known to be done with
    kind, payload, fd = dump_arguments(binding.name, args, kwargs, pool)
    if fd is not None:
        flags |= HAS_FD
    section = frames.items_section(((kind, payload),))
    flags |= OPEN | LAST
    return frames.hot(SUBMIT, flags, number, 0, 1, binding.number, section), fd


def call(binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    """Call and wait: (True, result) or (False, the user's own exception)."""
    channel = binding.channel
    number = channel.next_number()
    waiter = CallWaiter(*submit_frame(binding, number, 0, args, kwargs))
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame, waiter.fd)
        channel.wait(waiter)
    finally:
        channel.unregister(number)
        waiter.release()
        if not waiter.ready:
            channel.tell("cancel", call=number)
    return waiter.outcome(binding.local_path)


async def call_async(
    binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bool, Any]:
    """`call` for asyncio; cancelling the task cancels the call."""
    from volant.channel import aio

    channel = binding.channel
    number = channel.next_number()
    waiter = CallWaiter(*submit_frame(binding, number, 0, args, kwargs))
    channel.register(number, waiter)
    try:
        await aio.call(channel, waiter)
    finally:
        channel.unregister(number)
        waiter.release()
        if not waiter.ready:
            channel.tell("cancel", call=number)
    return waiter.outcome(binding.local_path)


class Stream:
    """An open generator call."""

    __slots__ = ("binding", "waiter")

    def __init__(self, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        channel = binding.channel
        number = channel.next_number()
        frame, fd = submit_frame(binding, number, STREAM, args, kwargs)
        self.binding = binding
        self.waiter = StreamWaiter(channel, number, frame)
        channel.register(number, self.waiter)
        channel.send(frame, fd)
        if fd is not None:
            import os

            os.close(fd)

    def close(self) -> None:
        """Forget the call, cancelling it when values are still to come."""
        channel, waiter = self.binding.channel, self.waiter
        channel.unregister(waiter.number)
        waiter.release()
        if not waiter.finished and waiter.error is None and not channel.closed:
            channel.tell("cancel", call=waiter.number)


def stream(binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Yield the values of a generator function as they are produced."""
    opened = Stream(binding, args, kwargs)
    try:
        while True:
            binding.channel.wait(opened.waiter)
            more, value = opened.waiter.take(binding.local_path)
            if not more:
                return
            yield value
    finally:
        opened.close()


async def stream_async(
    binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncIterator[Any]:
    """`stream` for asyncio."""
    from volant.channel import aio

    opened = Stream(binding, args, kwargs)
    try:
        while True:
            await aio.wait(binding.channel, opened.waiter)
            more, value = opened.waiter.take(binding.local_path)
            if not more:
                return
            yield value
    finally:
        opened.close()


def announcement(number: int, key: str | None = None) -> bytes:
    """What goes ahead of a call that is kept: which input makes it, and its key; may be empty."""
    parent = _context.current_input.get()
    if parent is None and key is None:
        return b""
    event = {"op": "spawning", "call": number, "parent": parent, "key": key}
    return frames.control(frames.EVENT, values.encode(event))


def spawn(
    binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
) -> str:
    """Start a call whose result is kept until it is asked for.

    Returns:
        The id of the call (`fc-…`), once the hub has it.
    """
    channel = binding.channel
    number = channel.next_number()
    frame, fd = submit_frame(binding, number, RETAIN, args, kwargs)
    waiter = SpawnWaiter(announcement(number, key) + frame, fd)
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame, waiter.fd)
        channel.wait(waiter)
    finally:
        channel.unregister(number)
        waiter.release()
    return waiter.call_id or f"fc-{ids.call_id(channel.session, number)}"


async def spawn_async(
    binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
) -> str:
    """`spawn` for asyncio."""
    from volant.channel import aio

    channel = binding.channel
    number = channel.next_number()
    frame, fd = submit_frame(binding, number, RETAIN, args, kwargs)
    waiter = SpawnWaiter(announcement(number, key) + frame, fd)
    channel.register(number, waiter)
    try:
        await aio.call(channel, waiter)
    finally:
        channel.unregister(number)
        waiter.release()
    return waiter.call_id or f"fc-{ids.call_id(channel.session, number)}"


def in_event_loop() -> bool:
    """True when the calling thread runs an asyncio event loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def warn_blocking(blocking: str, instead: str, stacklevel: int = 3) -> None:
    """Warn that the event loop of this thread is blocked, if there is one.

    Args:
        blocking: the form that was used, such as `f.spawn(...)`.
        instead: what to write, such as `await f.spawn.aio(...)`.
        stacklevel: whose line is shown; by default that of the caller's caller.
    """
    if not in_event_loop():
        return
    import warnings

    from volant.errors import AsyncUsageWarning

    warnings.warn(
        f"`{blocking}` blocks the running event loop; use `{instead}`",
        AsyncUsageWarning,
        stacklevel=stacklevel,
    )
