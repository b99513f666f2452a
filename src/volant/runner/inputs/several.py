"""Serves a container that runs several inputs at once, in threads or as tasks of an event loop.

    hub --INPUT--> main thread --> another thread --OUTCOME--> hub     plain functions
    hub --INPUT--> event loop of the main thread --OUTCOME--> hub      async functions

Takes the place of the loop in `loop.py` once the function is found. The main thread always listens,
so no signal need wake it. Each input is a batch of its own and runs in its own copy of the main
thread's context; the hub sends no more of them than may run. A task is cancelled when the hub says
so. A thread cannot be, so the hub ends the container instead. Imported for such functions only:
others shall not pay for `threading` and `asyncio`.
"""

from __future__ import annotations

import contextvars
import os
import threading
import traceback
from queue import SimpleQueue
from time import perf_counter_ns

from volant import _context
from volant.runner.execute import STREAM_WINDOW, Execute, event_loop
from volant.runner.inputs.outbox import Outbox
from volant.runner.inputs.outcomes import Outcome, Outcomes
from volant.runner.loop import MEMORY_IDLE_MS, Batch
from volant.wire import frames, payloads, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any, NoReturn

    from volant.runner.loop import Runner


class SharedOutbox(Outbox):
    """The result of one input, on a connection that other inputs send on as well."""

    __slots__ = ("several",)

    def __init__(self, several: Several, batch: Batch) -> None:
        super().__init__(several.runner, batch)
        self.several = several

    def stream_item(self, kind: int, payload: bytes, fd: int | None, sequence: int) -> None:
        """Send one value of a generator at once."""
        with self.several.lock:
            if not self.several.is_over:
                super().stream_item(kind, payload, fd, sequence)

    def _send(self, *, last: bool, fd: int | None = None) -> None:
        if os.getpid() != self.runner.pid:
            os._exit(0)  # a forked child: whoever held the lock does not exist in it
        with self.several.lock:
            if not self.several.is_over:
                super()._send(last=last, fd=fd)


class TaskOutbox(SharedOutbox):
    """The result of one input that is a task, sent together with those of others."""

    __slots__ = ()
    several: AsTasks

    def _send(self, *, last: bool, fd: int | None = None) -> None:
        if not last or not self.items:
            super()._send(last=last, fd=fd)
            return
        flags = frames.END | frames.ALL_OK if self.all_ok else frames.END
        exec_us = min(self.exec_ns // 1000, 0xFFFFFFFF)
        section = frames.items_section(self.items)
        self.several.send_outcome(Outcome(self.batch, flags, exec_us, section))


class Several(Execute):
    """What threads and tasks have in common."""

    def __init__(
        self, raws: list[Callable[..., Any]], forms: list[dict[str, Any]], runner: Runner
    ) -> None:
        """Serve one function, or the methods of a class.

        Args:
            raws: what is called, for each method.
            forms: `is_async` and `is_generator`, for each method.
            runner: the container.
        """
        super().__init__(raws[0], runner)
        self.raws = raws
        self.forms = forms
        #: Held by whoever writes to the connection.
        self.lock = threading.Lock()
        #: The hub has closed the connection.
        self.is_over = False
        #: Values that each generator may still send, by batch; threads wait for more.
        self._credits: dict[int, int] = {}
        self._credit_came = threading.Condition()
        self._clearing: threading.Timer | None = None

    # -- on the main thread

    def serve(self) -> NoReturn:
        """Serve until the hub closes the connection, then end the process."""
        raise NotImplementedError

    def begin(self, batch: Batch) -> None:
        """Begin an input beside the others."""
        raise NotImplementedError

    def cancel(self, key: int) -> None:
        """End an input early."""
        raise NotImplementedError

    def end(self) -> None:
        """End the process, since the hub wants nothing more of it; from any thread."""
        raise NotImplementedError

    def preempt(self) -> None:
        """End the process, since the hub has said so."""
        self.end()

    def take(self, received: list[tuple[int, int, bytes]] | None) -> None:
        """Begin the inputs that came, and heed what the hub says."""
        if received is None:
            self.end()
            return
        for kind, flags, body in received:
            if kind == frames.INPUT:
                batch = Batch(flags, body)
                if flags & frames.HAS_FD:
                    batch.fd = self.runner.stream.take_fd()
                self.begin(batch)
            elif kind == frames.EVENT:
                self._heed(values.decode_map(body))

    def _heed(self, event: dict[str, Any]) -> None:
        if event["op"] == "cancel":
            self.cancel(event["batch"])
        elif event["op"] == "preempt":
            self.preempt()
        elif event["op"] == "credit":
            self.add_credit(event["batch"], event["count"])
        elif event["op"] == "released":
            payloads.on_released(event)

    def add_credit(self, key: int, count: int) -> None:
        """Let a generator send further values."""
        with self._credit_came:
            if key in self._credits:
                self._credits[key] += count
                self._credit_came.notify_all()

    # -- in the input's own thread or task

    def _call_here(self, batch: Batch, out: SharedOutbox) -> Any:
        """Run a plain function or generator in this thread; its result, or how many values."""
        kind, payload = batch.items[0]
        args, kwargs = payloads.loads(kind, payload, batch.take_fd())
        returned = self.raws[batch.method](*args, **kwargs)
        if not self.forms[batch.method]["is_generator"]:
            return returned
        sequence = 0
        self._credits[batch.key] = STREAM_WINDOW
        try:
            for value in returned:
                with self._credit_came:
                    while self._credits[batch.key] <= 0:
                        self._credit_came.wait()
                    self._credits[batch.key] -= 1
                self._send_value(value, batch, out, sequence)
                sequence += 1
        finally:
            del self._credits[batch.key]
            if hasattr(returned, "close"):
                returned.close()
        return sequence

    @staticmethod
    def _send_value(value: Any, batch: Batch, out: SharedOutbox, sequence: int) -> None:
        kind, payload, fd = payloads.dumps(value, batch.pool)
        kind = frames.YIELD if kind == frames.PICKLE else frames.YIELD_MAPPED
        out.stream_item(kind, payload, fd, sequence)

    def _tell_late(self) -> None:
        if self.runner.watch is not None:
            with self.lock:
                self.runner.tell_late()

    def _succeed(self, value: Any, begun_ns: int, out: SharedOutbox) -> None:
        out.exec_ns = perf_counter_ns() - begun_ns
        self._tell_late()
        if self.forms[out.batch.method]["is_generator"]:
            out.add(frames.EXHAUSTED, int(value).to_bytes(8, "little"))
        else:
            self._finish(value, out)
        out.settle(last=True)

    def _fail(self, exc: BaseException, begun_ns: int, out: SharedOutbox) -> None:
        out.exec_ns = perf_counter_ns() - begun_ns
        self._tell_late()
        self._failed(exc, out)
        out.settle(last=True)

    def _tidy(self) -> None:
        """After an input: tell of files that were let go of, close in time what was kept."""
        with self.lock:
            try:
                self.runner.stream.send_releases()
            except OSError:
                self.end()
            if payloads.holds_memory():
                if self._clearing is not None:
                    self._clearing.cancel()
                self._clearing = threading.Timer(MEMORY_IDLE_MS / 1000, payloads.clear_memory)
                self._clearing.daemon = True
                self._clearing.start()

    def _break_down(self) -> NoReturn:
        """End the container over a failure of ours: an input without an answer would hang."""
        traceback.print_exc()
        os._exit(1)


class InThreads(Several):
    """Runs inputs of a plain function, each in a thread of its own; threads are used again."""

    def __init__(
        self, raws: list[Callable[..., Any]], forms: list[dict[str, Any]], runner: Runner,
        max_inputs: int,
    ) -> None:  # fmt: skip
        super().__init__(raws, forms, runner)
        self._max_inputs = max_inputs
        self._work: SimpleQueue[tuple[contextvars.Context, Batch]] = SimpleQueue()
        self._threads = 0
        self._begun = 0
        self._ended = 0

    def serve(self) -> NoReturn:
        """Listen; the work is done elsewhere."""
        while True:
            self.take(self.runner.stream.receive())

    def begin(self, batch: Batch) -> None:
        """Hand an input to a thread that has nothing to do, or to a new one."""
        self._begun += 1
        busy = self._begun - self._ended
        if busy > self._threads and self._threads < self._max_inputs:
            self._threads += 1
            name = f"volant input {self._threads}"
            threading.Thread(target=self._run_inputs, name=name, daemon=True).start()
        self._work.put((contextvars.copy_context(), batch))

    def cancel(self, key: int) -> None:
        """Nothing: what a thread runs ends with its container, which the hub sees to."""

    def end(self) -> None:
        """End the process; exit hooks run on the main thread, which finds out by itself."""
        self.is_over = True
        if threading.current_thread() is threading.main_thread():
            self.runner.leave(0)

    def _run_inputs(self) -> None:
        while True:
            context, batch = self._work.get()
            try:
                context.run(self._run_input, batch)
                del context, batch
                self._tidy()
            except BaseException:  # noqa: BLE001  # user code's own were caught inside
                self._break_down()
            with self.lock:
                self._ended += 1

    def _run_input(self, batch: Batch) -> None:
        _context.current_input.set((batch.call_id, batch.first))
        out = SharedOutbox(self, batch)
        begun_ns = perf_counter_ns()
        try:
            value = self._call_here(batch, out)
        except BaseException as exc:  # noqa: BLE001  # user code may raise anything
            self._fail(exc, begun_ns, out)
        else:
            self._succeed(value, begun_ns, out)


class AsTasks(Several):
    """Runs inputs of async functions as tasks of one loop that lives as long as the container.

    Plain methods of a class that has async ones as well run in threads beside the loop.
    """

    def __init__(
        self, raws: list[Callable[..., Any]], forms: list[dict[str, Any]], runner: Runner,
        max_inputs: int,
    ) -> None:  # fmt: skip
        super().__init__(raws, forms, runner)
        from concurrent.futures import ThreadPoolExecutor

        self._loop = event_loop()
        self._threads = ThreadPoolExecutor(max_inputs, "volant input")
        self._outcomes = Outcomes(self, self._loop)
        #: Tasks that were not cancelled, by batch.
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running = 0
        #: Generators that wait until they may send further values, by batch.
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def serve(self) -> NoReturn:
        """Run the loop, which also listens."""
        self._loop.add_reader(self.runner.stream.sock.fileno(), self._on_readable)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Of a task that user code made: it ends no other. Who awaits it hears of it.
                traceback.print_exc()
            if self.is_over and not self._running:
                self.runner.leave(0)

    def _on_readable(self) -> None:
        self.take(self.runner.stream.receive_nowait())

    def begin(self, batch: Batch) -> None:
        """Make a task of an input."""
        self._running += 1
        task = self._loop.create_task(self._run_input(batch))
        if not task.done():
            self._tasks[batch.key] = task

    def cancel(self, key: int) -> None:
        """Cancel the task of an input, once: a second time would break into its clean-up."""
        task = self._tasks.pop(key, None)
        if task is not None:
            self._loop.call_soon(task.cancel)  # not before it has begun, or it could not answer

    def preempt(self) -> None:
        """Say what is done by now, and end."""
        self._outcomes.flush()
        self.end()

    def end(self) -> None:
        """Cancel what runs, and end the process after that; the hub waits for it a moment."""
        if not self.is_over:
            self.is_over = True
            self._loop.remove_reader(self.runner.stream.sock.fileno())
            for key in list(self._tasks):
                self.cancel(key)
        if not self._running:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def add_credit(self, key: int, count: int) -> None:
        """Let a generator send further values."""
        super().add_credit(key, count)
        waiting = self._waiting.pop(key, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _run_input(self, batch: Batch) -> None:
        try:
            await self._await_input(batch)
            self._tasks.pop(batch.key, None)
            self._running -= 1
            if self.is_over:
                self.end()
            elif self.runner.stream.releases or payloads.holds_memory():
                self._tidy()
        except BaseException:  # noqa: BLE001  # user code's own were caught inside
            self._break_down()

    async def _await_input(self, batch: Batch) -> None:
        _context.current_input.set((batch.call_id, batch.first))
        out = TaskOutbox(self, batch)
        begun_ns = perf_counter_ns()
        try:
            value = await self._outcome_of(batch, out)
        except BaseException as exc:  # noqa: BLE001  # user code may raise anything
            self._fail(exc, begun_ns, out)
        else:
            self._succeed(value, begun_ns, out)

    def send_outcome(self, outcome: Outcome) -> None:
        """Send the result of a task, alone or with others."""
        self._outcomes.add(outcome, others=self._running > 1)

    async def _outcome_of(self, batch: Batch, out: SharedOutbox) -> Any:
        form = self.forms[batch.method]
        if not form["is_async"]:
            context = contextvars.copy_context()
            return await self._loop.run_in_executor(
                self._threads, context.run, self._call_here, batch, out
            )
        kind, payload = batch.items[0]
        args, kwargs = payloads.loads(kind, payload, batch.take_fd())
        returned = self.raws[batch.method](*args, **kwargs)
        if not form["is_generator"]:
            return await returned
        return await self._pump(returned, batch, out)

    async def _pump(self, values_: Any, batch: Batch, out: SharedOutbox) -> int:
        sequence = 0
        self._credits[batch.key] = STREAM_WINDOW
        try:
            async for value in values_:
                while self._credits[batch.key] <= 0:
                    waiting = self._waiting[batch.key] = self._loop.create_future()
                    await waiting
                self._credits[batch.key] -= 1
                self._send_value(value, batch, out, sequence)
                sequence += 1
        finally:
            del self._credits[batch.key]
            self._waiting.pop(batch.key, None)
            if hasattr(values_, "aclose"):
                await values_.aclose()
        return sequence


def for_functions(
    raws: list[Callable[..., Any]], forms: list[dict[str, Any]], max_inputs: int, runner: Runner
) -> Several:
    """What fits a function, or the methods of a class, of which so many inputs run at once."""
    if any(form["is_async"] for form in forms):
        return AsTasks(raws, forms, runner, max_inputs)
    return InThreads(raws, forms, runner, max_inputs)
