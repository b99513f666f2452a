"""Drivers of a map: the blocking generator, and the asynchronous one.

Sized inputs (lists, ranges) are pulled by the caller's own thread between results. Other
iterators may block, so a thread pulls them and the results that are ready are not held back.
"""

from __future__ import annotations

from _thread import allocate_lock
from _warnings import warn
from contextlib import suppress
from itertools import islice

from volant.errors import InvalidError, TimeoutError
from volant.sdk import output
from volant.sdk.calls.calling import announcement
from volant.sdk.calls.mapping import CHUNK, MapState, MapWaiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Any

    from volant.sdk.calls.calling import Binding


#: The first wait of a `spawn_map` for which there is no room, and the longest.
ROOM_WAIT_S = 0.5
ROOM_WAIT_S_MAX = 30.0


class MapOptions:
    """What a caller asked of a map."""

    __slots__ = ("kwargs", "ordered", "return_exceptions", "total")

    def __init__(
        self,
        kwargs: dict[str, Any],
        *,
        ordered: bool = True,
        return_exceptions: bool = False,
        total: int | None = None,
    ) -> None:
        if not isinstance(kwargs, dict):
            raise InvalidError(f"kwargs= must be a dict of keyword arguments, got {kwargs!r}")
        self.kwargs = kwargs
        self.ordered = ordered
        self.return_exceptions = return_exceptions
        #: Number of inputs, None when only their end will tell.
        self.total = total


class _Map:
    """One map in progress on a channel."""

    def __init__(self, binding: Binding, options: MapOptions, *, retain: bool = False) -> None:
        self.binding = binding
        self.options = options
        self.state = MapState(binding, ordered=options.ordered, retain=retain)
        self.waiter = MapWaiter(self.state)
        self.lock = allocate_lock()  # guards the state when a thread pulls
        self.shown = output.active
        self.binding.channel.register(self.state.number, self.waiter)
        if retain:
            ahead = announcement(self.state.number)
            if ahead:
                self.binding.channel.send(ahead)

    def send(self, due: list[tuple[bytes, int | None]]) -> None:
        for frame, fd in due:
            self.binding.channel.send(frame, fd)

    def results(self) -> Iterator[Any]:
        """Yield what may be yielded now.

        Raises:
            BaseException: a user's exception at its turn, unless exceptions are returned.
        """
        state = self.state
        if self.shown is not None:
            self._show(self.shown)
        while state.results:
            ok, value = state.results.popleft()
            state.yielded += 1
            if not ok and not (self.options.return_exceptions and isinstance(value, Exception)):
                raise value
            yield value

    def _show(self, shown: output.Output) -> None:
        state = self.state
        total = state.pulled if state.exhausted else self.options.total
        shown.on_map(state.number, self.binding.name, state.sent - state.in_flight, total)

    def close(self) -> None:
        if self.shown is not None:
            self._show(self.shown)
            self.shown.on_map_end(self.state.number)
        channel = self.binding.channel
        channel.unregister(self.state.number)
        if not self.state.finished and not channel.closed and self.waiter.error is None:
            channel.tell("cancel", call=self.state.number)
        self.state.closed = True
        self.state.release()
        self.waiter.release()

    def forget(self) -> None:
        """Let go of a map whose results stay with the hub."""
        self.binding.channel.unregister(self.state.number)
        self.state.release()
        self.waiter.release()


def run_map(binding: Binding, inputs: Iterator[Any], options: MapOptions) -> Iterator[Any]:
    """Yield the results of a map.

    Args:
        inputs: one tuple of arguments each.
        options: a known `total` also says that pulling an input never blocks, because they
            come from a list, a range or the like.
    """
    pull = _pull_in_thread if options.total is None else _pull_inline
    return pull(binding, inputs, options)


def _pull_inline(binding: Binding, inputs: Iterator[Any], options: MapOptions) -> Iterator[Any]:
    mapped = _Map(binding, options)
    state, waiter, kwargs = mapped.state, mapped.waiter, mapped.options.kwargs
    try:
        while True:
            while state.wants_input():
                full = state.pulled + CHUNK
                for args in islice(inputs, CHUNK):
                    due = state.add(args, kwargs)
                    if due:
                        mapped.send(due)
                        if not state.wants_input():
                            break
                else:
                    if state.pulled < full:
                        mapped.send(state.finish_inputs())
            if state.finished:
                return
            mapped.send(state.flush())  # the window may have closed on inputs of a part of a chunk
            mapped.binding.channel.wait(waiter)
            mapped.send(waiter.book())
            yield from mapped.results()
    finally:
        mapped.close()


class _Puller:
    """A thread that pulls inputs which may block, and sends them."""

    def __init__(self, mapped: _Map, inputs: Iterator[Any]) -> None:
        import threading

        self.mapped = mapped
        self.inputs = inputs
        self.error: BaseException | None = None
        self.room = threading.Event()
        self.thread: threading.Thread = threading.Thread(
            target=self._run, name="volant-map-inputs", daemon=True
        )

    def _run(self) -> None:
        state = self.mapped.state
        try:
            for args in self.inputs:
                self._wait_for_room()
                if state.closed:
                    return
                with self.mapped.lock:
                    due = state.add(args, self.mapped.options.kwargs)
                    if state.in_flight < CHUNK:  # containers may be idle: do not hold back
                        due += state.flush()
                    self.mapped.send(due)
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
            self.error = error
            self._end()
            return
        self._end()

    def _wait_for_room(self) -> None:
        state = self.mapped.state
        while not state.closed:
            self.room.clear()
            if state.wants_input():
                return
            self.room.wait()

    def _end(self) -> None:
        with self.mapped.lock:
            self.mapped.send(self.mapped.state.finish_inputs())
        # The caller may sleep with nothing in flight: this request's reply wakes it.
        self.mapped.binding.channel.tell("poke", call=self.mapped.state.number)


def _pull_in_thread(binding: Binding, inputs: Iterator[Any], options: MapOptions) -> Iterator[Any]:
    mapped = _Map(binding, options)
    puller = _Puller(mapped, inputs)
    state, waiter = mapped.state, mapped.waiter
    puller.thread.start()
    try:
        while True:
            with mapped.lock:
                mapped.send(waiter.book())
                mapped.send(state.flush())
            puller.room.set()
            yield from mapped.results()
            puller.room.set()
            if puller.error is not None and state.idle:
                raise puller.error
            if state.finished:
                return
            mapped.binding.channel.wait(waiter)
    finally:
        mapped.close()
        puller.room.set()


async def run_map_async(
    binding: Binding, inputs: AsyncIterator[Any], options: MapOptions
) -> AsyncIterator[Any]:
    """`run_map` for asyncio."""
    import asyncio

    from volant.channel import aio

    mapped = _Map(binding, options)
    state, waiter = mapped.state, mapped.waiter
    room = asyncio.Event()
    feeder = asyncio.ensure_future(_feed(mapped, inputs, room))
    try:
        while True:
            mapped.send(waiter.book())
            mapped.send(state.flush())
            for value in mapped.results():
                yield value
            room.set()
            if feeder.done() and feeder.exception() is not None and state.idle:
                raise feeder.exception() or AssertionError
            if state.finished:
                return
            await aio.wait(binding.channel, waiter)
    finally:
        feeder.cancel()
        mapped.close()


async def _feed(mapped: _Map, inputs: AsyncIterator[Any], room: asyncio.Event) -> None:
    state = mapped.state
    try:
        async for args in inputs:
            while not state.wants_input():
                room.clear()
                await room.wait()
            due = state.add(args, mapped.options.kwargs)
            if state.in_flight < CHUNK:
                due += state.flush()
            mapped.send(due)
    finally:
        mapped.send(state.finish_inputs())
        mapped.binding.channel.tell("poke", call=state.number)


async def zip_async(iterables: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    """`zip` over ordinary and asynchronous iterables; ordinary ones may block."""
    sources = [_steps(iterable) for iterable in iterables]
    while True:
        row = []
        for source in sources:
            try:
                row.append(await source.__anext__())
            except StopAsyncIteration:
                return
        yield tuple(row)


async def _steps(iterable: Any) -> AsyncIterator[Any]:
    if hasattr(iterable, "__aiter__"):
        async for value in iterable:
            yield value
    elif is_sized(iterable):
        for value in iterable:
            yield value
    else:  # may block: pulled in a thread, so that the loop goes on
        import asyncio

        end = object()
        loop = asyncio.get_running_loop()
        iterator = iter(iterable)
        while (value := await loop.run_in_executor(None, next, iterator, end)) is not end:
            yield value


def is_sized(iterable: Any) -> bool:
    """True for containers, whose items are there already; False for iterators and generators."""
    return hasattr(iterable, "__len__")


class Patience:
    """How long to wait before inputs are sent again for which there was no room."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wait_s = 0.0

    def next_s(self, error: BaseException) -> float:
        """The next wait, in seconds; the first time with a warning that says why."""
        if not self._wait_s:
            warn(
                f"`{self._name}.spawn_map(...)` waits until there is room: {error}",
                UserWarning,
                stacklevel=5,
            )
        self._wait_s = min(max(ROOM_WAIT_S, 2 * self._wait_s), ROOM_WAIT_S_MAX)
        return self._wait_s


def spawn_inputs(binding: Binding, inputs: Iterable[Any], kwargs: dict[str, Any]) -> int:
    """Send all inputs of a call whose results are kept; returns the number of the call."""
    mapped = _Map(binding, MapOptions(kwargs), retain=True)
    state, channel = mapped.state, binding.channel
    try:
        for args in inputs:
            mapped.send(state.add(args, kwargs))
            state.yielded = state.pulled  # results stay with the hub: no window
        mapped.send(state.finish_inputs())
        patience = Patience(binding.name)
        while not mapped.waiter.answered:  # the hub does when it has accepted the last input
            channel.wait(mapped.waiter)
            refusal, mapped.waiter.refusal = mapped.waiter.refusal, None
            due = mapped.waiter.book()
            if refusal is not None and not due:
                with suppress(TimeoutError):
                    channel.wait(mapped.waiter, patience.next_s(refusal[1]))
                due = state.resubmission(refusal[0])
            mapped.send(due)
    finally:
        mapped.forget()
    return state.number


async def spawn_inputs_async(
    binding: Binding, inputs: AsyncIterator[Any], kwargs: dict[str, Any]
) -> int:
    """`spawn_inputs` for asyncio."""
    import asyncio

    from volant.channel import aio

    mapped = _Map(binding, MapOptions(kwargs), retain=True)
    state, channel = mapped.state, binding.channel
    loop = asyncio.get_running_loop()
    try:
        async for args in inputs:
            due = state.add(args, kwargs)
            state.yielded = state.pulled  # results stay with the hub: no window
            if due:  # and nothing else that would hold back: the socket may be full for a while
                await loop.run_in_executor(None, mapped.send, due)
        await loop.run_in_executor(None, mapped.send, state.finish_inputs())
        patience = Patience(binding.name)
        while not mapped.waiter.answered:
            await aio.wait(channel, mapped.waiter)
            refusal, mapped.waiter.refusal = mapped.waiter.refusal, None
            due = mapped.waiter.book()
            if refusal is not None and not due:
                with suppress(TimeoutError):
                    await aio.wait(channel, mapped.waiter, patience.next_s(refusal[1]))
                due = state.resubmission(refusal[0])
            await loop.run_in_executor(None, mapped.send, due)
    finally:
        mapped.forget()
    return state.number


async def unpack_async(rows: AsyncIterator[tuple[Any, ...]]) -> AsyncIterator[tuple[Any, ...]]:
    """Rows of one column, whose value is the tuple of arguments."""
    async for (args,) in rows:
        yield tuple(args)


class MapResults:
    """The results of a map; warns when nobody ever asks for one (behaviour 28)."""

    __slots__ = ("_asked", "_form", "_name", "_results")

    def __init__(self, name: str, form: str, results: Iterator[Any]) -> None:
        self._name = name
        self._form = form
        self._results = results
        self._asked = False

    def __iter__(self) -> Iterator[Any]:
        self._asked = True
        return self._results

    def __next__(self) -> Any:
        self._asked = True
        return next(self._results)

    def __del__(self) -> None:
        if not self._asked:
            warn(  # the built-in one: the interpreter may be past importing anything
                f"`{self._name}.{self._form}(...)` was never iterated, so nothing ran: use a "
                f"for-loop, list(...), or `{self._name}.for_each(...)`",
                stacklevel=2,
            )


class AwaitedMapResults(MapResults):
    """The results of a map that was begun where an event loop runs: for `async for` alone."""

    __slots__ = ("_awaited", "_blocking")

    def __init__(
        self, name: str, form: str, awaited: AsyncIterator[Any], blocking: Exception
    ) -> None:
        """`blocking` is raised for who would block the loop."""
        super().__init__(name, form, iter(()))
        self._awaited = awaited
        self._blocking = blocking

    def __aiter__(self) -> AsyncIterator[Any]:
        self._asked = True
        return self._awaited

    def __iter__(self) -> Iterator[Any]:
        self._asked = True
        raise self._blocking

    __next__ = __iter__
