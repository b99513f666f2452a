"""How one input is run: plain function, coroutine function, generator, async generator.

Each form unpickles the arguments, runs user code on the main thread and hands the result to
the outbox. Whatever user code raises, BaseException included, becomes the input's fault.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns

from volant import _context
from volant.errors import InputCancellation, SerializationError
from volant.wire import frames
from volant.wire.payloads import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from volant.runner.inputs.outbox import Outbox
    from volant.runner.loop import Runner

_OURS = __file__.rpartition("/")[0] + "/"
#: Values of a generator that may be under way to a client which has not taken them.
STREAM_WINDOW = 1024


class Execute:
    """Runs a plain function; the other forms override `_call`."""

    def __init__(self, raw: Callable[..., Any], runner: Runner) -> None:
        self.raw = raw
        self.runner = runner

    def run(self, item: tuple[int, bytes], fd: int | None, out: Outbox) -> None:
        """Run one input and add its result to `out`; takes ownership of `fd`."""
        runner = self.runner
        begun = perf_counter_ns()
        try:
            args, kwargs = loads(item[0], item[1], fd)
            runner.in_user_code = True
            if runner.is_woken:
                runner.listen()
            value = self._call(args, kwargs, out)
            runner.in_user_code = False
        except BaseException as exc:  # noqa: BLE001  # user code may raise anything
            runner.in_user_code = False
            out.exec_ns += perf_counter_ns() - begun
            self._failed(exc, out)
            return
        out.exec_ns += perf_counter_ns() - begun
        self._finish(value, out)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Outbox) -> Any:
        return self.raw(*args, **kwargs)

    def _finish(self, value: Any, out: Outbox) -> None:
        try:
            kind, payload, fd = dumps(value, out.batch.pool)
        except Exception as exc:  # noqa: BLE001  # pickling runs user code
            error = SerializationError(
                f"the result of `{getattr(self.raw, '__name__', 'a function')}`, "
                f"of type {type(value).__name__}, cannot be pickled",
                hint="return plain data, or something that pickles",
            )
            error.__cause__ = exc
            out.add_fault(error)
            return
        out.add(kind, payload, fd)

    def _failed(self, exc: BaseException, out: Outbox) -> None:
        if isinstance(exc, SystemExit):
            import traceback

            # Our own frames (this one and `_call`) are no news to the user.
            tb = exc.__traceback__
            while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OURS):
                tb = tb.tb_next
            traceback.print_exception(type(exc), exc, tb, file=sys.stderr)
        out.add_fault(exc)


_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """The container's event loop, on its main thread: that of functions, methods and hooks."""
    global _loop
    if _loop is None:
        import asyncio

        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop


def complete(awaitable: Any) -> Any:
    """Run a coroutine of a hook to its end."""
    return event_loop().run_until_complete(awaitable)


class ExecuteAsync(Execute):
    """Runs a coroutine function on one event loop that lives as long as the container."""

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Outbox) -> Any:
        return self._complete(self.raw(*args, **kwargs))

    def _complete(self, awaitable: Any) -> Any:
        loop = event_loop()
        task = loop.create_task(_as_coroutine(awaitable))
        self.runner.in_user_code = False  # the loop itself listens: no signal is needed

        def on_readable() -> None:
            self.runner._take(self.runner.stream.receive_nowait())
            if self.runner.is_interrupted():
                task.cancel()

        fd = self.runner.stream.sock.fileno()
        loop.add_reader(fd, on_readable)
        try:
            return loop.run_until_complete(task)
        finally:
            loop.remove_reader(fd)


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable


class ExecuteGenerator(Execute):
    """Runs a generator function: every value is sent as it is yielded."""

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Outbox) -> Any:
        stream = ValueStream(self.runner, out)
        generator = self.raw(*args, **kwargs)
        try:
            for value in generator:
                stream.send(value)
        finally:
            close = getattr(generator, "close", None)
            if close is not None:
                close()
        return stream.sequence

    def _finish(self, value: Any, out: Outbox) -> None:
        out.add(frames.EXHAUSTED, int(value).to_bytes(8, "little"))


class ExecuteAsyncGenerator(ExecuteAsync):
    """Runs an async generator function."""

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Outbox) -> Any:
        stream = ValueStream(self.runner, out)

        async def pump() -> int:
            async for value in self.raw(*args, **kwargs):
                stream.send(value)
            return stream.sequence

        return self._complete(pump())

    def _finish(self, value: Any, out: Outbox) -> None:
        out.add(frames.EXHAUSTED, int(value).to_bytes(8, "little"))


class ValueStream:
    """The values of one generator call, at most `STREAM_WINDOW` ahead of the client."""

    __slots__ = ("out", "runner", "sequence")

    def __init__(self, runner: Runner, out: Outbox) -> None:
        self.runner = runner
        self.out = out
        self.sequence = 0
        runner.credits[out.batch.key] = STREAM_WINDOW

    def send(self, value: Any) -> None:
        """Send one value, after the client has made room for it.

        Raises:
            InputCancellation: when the client has cancelled the call.
        """
        runner, key = self.runner, self.out.batch.key
        was_in_user_code = runner.in_user_code
        runner.in_user_code = False
        while runner.credits[key] <= 0:
            runner.wait_for_credit(self.out.batch)
        if self.out.batch.cancelled:
            raise InputCancellation("the call was cancelled")
        runner.credits[key] -= 1
        kind, payload, fd = dumps(value, self.out.batch.pool)
        kind = frames.YIELD if kind == frames.PICKLE else frames.YIELD_MAPPED
        self.out.stream_item(kind, payload, fd, self.sequence)
        self.sequence += 1
        runner.in_user_code = was_in_user_code
        if was_in_user_code and runner.is_woken:
            runner.listen()


def for_function(raw: Callable[..., Any], function: dict[str, Any], runner: Runner) -> Execute:
    """The form that fits a function of the app."""
    forms: dict[tuple[bool, bool], type[Execute]] = {
        (False, False): Execute,
        (True, False): ExecuteAsync,
        (False, True): ExecuteGenerator,
        (True, True): ExecuteAsyncGenerator,
    }
    return forms[bool(function["is_async"]), bool(function["is_generator"])](raw, runner)


#: Debugs an input on a terminal, in the part of this package that user code imports.
DEBUGGING = "volant.sdk.terminal.debugging"


def debugged(raw: Callable[..., Any], function: dict[str, Any], how: str) -> Callable[..., Any]:
    """The same function, debugged by whoever runs its call again.

    Args:
        raw: the plain function.
        function: `is_async`.
        how: `first-line`, or `post-mortem` for when it has raised.
    """
    from importlib import import_module

    form: Callable[..., Any] = import_module(DEBUGGING).debugged(raw, how, function["is_async"])
    return form


def watched(raw: Callable[..., Any], function: dict[str, Any]) -> Callable[..., Any]:
    """For an interactive app, the same function, which gives the terminal back in the end.

    Who runs the program reads nothing while a container has its terminal, so no input may keep it
    beyond its end, and none while its client waits for a value.

    Args:
        raw: the plain function.
        function: `is_async`, `is_generator`, and `web`: how it answers, which reads no terminal.
    """
    if function["web"] is not None:
        return raw

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return raw(*args, **kwargs)
        finally:
            _leave()

    async def run_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await raw(*args, **kwargs)
        finally:
            _leave()

    def run_generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            for value in raw(*args, **kwargs):
                _leave()
                yield value
        finally:
            _leave()

    async def run_async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for value in raw(*args, **kwargs):
                _leave()
                yield value
        finally:
            _leave()

    forms: dict[tuple[bool, bool], Callable[..., Any]] = {
        (False, False): run, (True, False): run_async,
        (False, True): run_generator, (True, True): run_async_generator,
    }  # fmt: skip
    form = forms[bool(function["is_async"]), bool(function["is_generator"])]
    form.__name__ = getattr(raw, "__name__", "a function")
    return form


def _leave() -> None:
    if _context.leave_terminal is not None:
        _context.leave_terminal()
