"""A container's life after isolation: take inputs, run user code, send outcomes.

    hub --START--> resolve the function --REPLY--> hub
    hub --INPUT--> [batch, batch] --run in order on the main thread--> OUTCOME --> hub

One thread does all of it, so that user code owns the main thread and no switch is paid.
While user code runs, the hub wakes this loop with SIGUSR1: the handler reads what came
(a cancellation, a request to give unstarted inputs back) between two bytecodes. What it is woken
for at other moments is read before user code goes on.
Invariant: every input of a batch is answered exactly once, in order, or given back.
"""

from __future__ import annotations

import _socket
import os
import select
import signal
import sys
from _signal import SIGUSR1
from time import perf_counter_ns

from volant import _context
from volant.errors import InputCancellation
from volant.ids import SESSION_CHARS
from volant.runner import execute, loading
from volant.runner.inputs.outbox import Outbox
from volant.wire import frames, payloads, values
from volant.wire.faults import encode_fault
from volant.wire.frames import CALL_ID_BYTES, HOT
from volant.wire.stream import FrameStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

    from volant.runner.inputs.grouped import Group, Grouped
    from volant.runner.inputs.several import Several
    from volant.runner.libraries.late import Watch

#: A container that has nothing to do for so long closes the files that it would use again.
MEMORY_IDLE_MS = 2000
#: What `breakpoint()` calls, in the part of this package that user code imports.
BREAKPOINT_HOOK = "volant.sdk.terminal.inside.on_breakpoint"
#: What sees to volumes, in the same part.
VOLUMES_MODULE = "volant.sdk.volumes.inside"

_OUR_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Batch:
    """Inputs to run in order. `count` shrinks when the hub takes the tail back."""

    __slots__ = (
        "call_id", "cancelled", "count", "express", "fd", "first", "items", "key", "method", "more",
        "pool",
    )  # fmt: skip

    def __init__(self, flags: int, body: bytes) -> None:
        self.key, self.first, self.count, self.method = HOT.unpack_from(body, 0)
        at = HOT.size + CALL_ID_BYTES
        self.call_id = body[HOT.size : at].decode("ascii")
        #: Whose files results are written to: one session reads them.
        self.pool = self.call_id[:SESSION_CHARS]
        self.items = frames.split_items(body[at:], self.count)
        self.cancelled = False
        #: Whether its one result may go straight to its client.
        self.express = bool(flags & frames.EXPRESS)
        #: Whether the next one is taken together with this one.
        self.more = bool(flags & frames.MORE)
        #: the mapped file of the first item, until it is unpickled
        self.fd: int | None = None

    def batches(self) -> list[Batch]:
        """Itself: what runs is one batch, or several of a group."""
        return [self]

    def take_fd(self) -> int | None:
        """The descriptor that belongs to the first item; comes once."""
        fd, self.fd = self.fd, None
        return fd

    def close(self) -> None:
        """Close the file of an input that is not run."""
        fd = self.take_fd()
        if fd is not None:
            os.close(fd)


class Runner:
    """State of one container. Its methods run on the main thread only."""

    def __init__(self, stream: FrameStream, sdk_fd: int, container_id: str) -> None:
        self.stream = stream
        self.sdk_fd = sdk_fd
        self.container_id = container_id
        self.pid = os.getpid()
        self.queue: list[Batch] = []
        self.current: Batch | Group | None = None
        self.position = 0
        #: Results of the batch that runs.
        self.outbox: Outbox | None = None
        self.in_user_code = False
        #: Whether the hub has said something at a moment when that could not be taken.
        self.is_woken = False
        self.credits: dict[int, int] = {}
        #: The container has to end: what it runs is run again elsewhere.
        self.is_preempted = False
        #: How inputs are run: one way, or one for each method of a class.
        self.executes: list[execute.Execute] = []
        #: Runs in place of these what is taken together.
        self.grouped: Grouped | None = None
        #: Of a class: what its methods are called on.
        self.instance: Any = None
        #: The way straight to the client of this app.
        self.express: _socket.socket | None = None
        self.express_token = b""
        #: Sockets to answer requests on, by the index of the method; they come before START.
        self.listeners: dict[int, int] = {}
        #: Notes what is imported, until the first input is done.
        self.watch: Watch | None = None
        #: Programs that its hooks have started end before it does.
        self.has_children = False
        #: Serves in place of this loop where several inputs run at once.
        self.several: Several | None = None

    def run(self) -> NoReturn:
        """Serve until the hub closes the connection, then end the process."""
        signal.signal(SIGUSR1, self._on_wake)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
        while not self.executes and self.several is None:
            self._take(self.stream.receive())
        if self.several is not None:
            self.several.serve()
        while True:
            if self.queue and not (self.grouped is not None and self.queue[-1].more):
                self._run_next()
                if self.queue:  # else the blocking read below sees what came meanwhile
                    self._take(self.stream.receive_nowait())
            else:
                self.stream.send_releases()
                if payloads.holds_memory():
                    self._wait_or_clear()
                self._take(self.stream.receive())

    def _wait_or_clear(self) -> None:
        """Close what no result was written to for a while, before a wait that may be long."""
        poll = select.poll()
        poll.register(self.stream.sock.fileno(), select.POLLIN)
        if not poll.poll(MEMORY_IDLE_MS):
            payloads.clear_memory()

    def _take(self, received: list[tuple[int, int, bytes]] | None) -> None:
        if received is None:
            self.leave(0)
        for kind, flags, body in received:
            if kind == frames.INPUT:
                batch = Batch(flags, body)
                if flags & frames.HAS_FD:
                    batch.fd = self.stream.take_fd()
                self.queue.append(batch)
            elif kind == frames.EVENT:
                fd = self.stream.take_fd() if flags & frames.HAS_FD else None
                self._on_event(values.decode_map(body), fd)
            elif kind == frames.REQUEST:
                message = values.decode_map(body)
                if flags & frames.HAS_FD:
                    self.express = _socket.socket(fileno=self.stream.take_fd())
                    token = message["express"]
                    assert isinstance(token, bytes)
                    self.express_token = token
                self._start(message)

    def leave(self, status: int) -> NoReturn:
        """End without the interpreter's shutdown: nothing of the zygote's must be run twice.

        The exit hooks of a class run before, and take as long as the hub allows.
        """
        instance, self.instance = self.instance, None
        if instance is not None:
            instance.exit(execute.complete)
        if self.has_children:
            from volant.runner.web import ending

            ending.wait_for_children()
        for output in (sys.stdout, sys.stderr):
            try:
                output.flush()
            except (OSError, ValueError):
                pass  # a closed or broken stream has nothing left to lose
        os._exit(status)

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send a frame; a hub that has closed the connection wants nothing more from here."""
        try:
            self.stream.send(frame, fd)
        except OSError:
            if self.several is None:
                self.leave(0)
            self.several.end()

    # -- start

    def _start(self, message: dict[str, Any]) -> None:
        begun = perf_counter_ns()
        try:
            self._enter_app(message)
            function = message["function"]
            self.in_user_code = True
            if message["entry"] is not None:  # the zygote could not import it for all
                loading.prepare(message["entry"])
            raws = self._resolve(function, message["parameters"])
            self.in_user_code = False
            forms = function["methods"] or [function]
            if message["debug"]:
                how = message["debug"]
                raws = [execute.debugged(*one, how) for one in zip(raws, forms, strict=True)]
            if message["interactive"]:
                raws = [execute.watched(*one) for one in zip(raws, forms, strict=True)]
            if self.listeners:
                from volant.runner.web.serving import Serving

                self.several = Serving(raws, forms, self, message["max_inputs"])
            elif message["max_inputs"] > 1 and not message["batch_size"]:
                from volant.runner.inputs import several

                self.several = several.for_functions(raws, forms, message["max_inputs"], self)
            elif message["batch_size"]:
                from volant.runner.inputs import grouped

                self.executes = [execute.for_function(raws[0], forms[0], self)]
                self.grouped = grouped.Grouped(raws[0], self.executes[0], self)
            else:
                self.executes = [
                    execute.for_function(raw, form, self)
                    for raw, form in zip(raws, forms, strict=True)
                ]
        except BaseException as exc:  # noqa: BLE001  # user code may raise anything
            self.in_user_code = False
            reply = {"id": message["id"], "fault": self.fault(exc)}
            self.send(frames.control(frames.REPLY, values.encode(reply)))
            self.leave(1)
        took_us = (perf_counter_ns() - begun) // 1000
        reply = {"id": message["id"], "import_us": took_us}
        self.send(frames.control(frames.REPLY, values.encode(reply)))

    def _resolve(self, function: dict[str, Any], parameters: bytes) -> list[Callable[..., Any]]:
        """What inputs are handed to: the function, or the methods of an instance."""
        found: Any = loading.resolve(function)
        if not function["methods"]:
            return [found]
        instance = found.serve(parameters)
        instance.enter(execute.complete)
        self.instance = instance
        methods: list[Callable[..., Any]] = instance.methods()
        return methods

    def _enter_app(self, message: dict[str, Any]) -> None:
        os.environ.update(message["env"])
        os.environ.setdefault("PYTHONBREAKPOINT", BREAKPOINT_HOOK)
        if message["threads"]:
            from volant.runner.libraries import threads

            threads.use(message["threads"])
        _context.container_id = self.container_id = message["container_id"]
        _context.app_id = message["app_id"]
        _context.sdk_fd = self.sdk_fd
        _context.is_restricted = message["restricted"]
        _context.function_numbers = message["functions"]
        _context.web_urls = message["urls"]
        _context.cluster = message["cluster"]
        _context.inputs_max = message["max_inputs"]
        payloads.recycles = message["recycle"]
        if message["watched"] is not None:
            from volant.runner.libraries import late

            self.watch = late.Watch(message["watched"], self.send)
        if message["volumes"]:
            volumes: Any = loading.import_module(VOLUMES_MODULE)
            volumes.begin()

    # -- batches

    def _run_next(self) -> None:
        if self.grouped is None:
            self._run_batch(self.queue.pop(0))
            return
        self.current = group = self.grouped.group(self.queue)
        self.queue = []
        self.grouped.run(group)
        self.current = None

    def _run_batch(self, batch: Batch) -> None:
        run = self.executes[batch.method].run
        self.current, self.position = batch, 0
        self.outbox = out = Outbox(self, batch)
        while self.position < batch.count:
            index = self.position
            if batch.cancelled:
                out.add_fault(InputCancellation("the call was cancelled"))
                batch.close()
            else:
                _context.current_input.set((batch.call_id, batch.first + index))
                run(batch.items[index], batch.take_fd(), out)
                if self.watch is not None:
                    self.tell_late()
            self.position = index + 1
            out.settle(last=self.position >= batch.count)
        self.current = self.outbox = None
        _context.current_input.set(None)

    def tell_late(self) -> None:
        """Tell the hub what was imported up to the end of the first input, ahead of its outcome."""
        watch, self.watch = self.watch, None
        if watch is not None and os.getpid() == self.pid:  # not what user code has forked
            watch.tell()

    def fault(self, exc: BaseException) -> bytes:
        """Encode an exception of user code, without our own frames."""
        if _context.on_failure is not None:
            _context.on_failure()
        return encode_fault(exc, skip_under=_OUR_FILES, where=self.container_id)

    # -- what the hub says in between

    def _on_wake(self, _signum: int, _frame: FrameType | None) -> None:
        if not self.in_user_code:
            self.is_woken = True  # nothing is taken in the midst of our own code
            return
        self.listen()

    def listen(self) -> None:
        """Take what the hub has said, and end user code that is about to go on if it has to.

        Whoever lets user code go on calls this if the hub has woken the container meanwhile.

        Raises:
            InputCancellation: when it has to.
        """
        self.is_woken = True
        while self.is_woken:
            self.in_user_code = self.is_woken = False
            self._take(self.stream.receive_nowait())
            self.in_user_code = True
        if self.is_interrupted():
            self.in_user_code = False
            self.interrupt()

    def is_interrupted(self) -> bool:
        """Whether the input that runs has to end early."""
        return self.is_preempted or (self.current is not None and self.current.cancelled)

    def interrupt(self) -> NoReturn:
        """Say to the user's code why it has to end.

        Raises:
            InputCancellation: always.
        """
        why = "the container has to end" if self.is_preempted else "the call was cancelled"
        raise InputCancellation(why)

    def _on_event(self, event: dict[str, Any], fd: int | None) -> None:
        op = event["op"]
        if fd is not None:
            assert op == "listen", op
            self.listeners[event["method"]] = fd
        if op == "credit":
            self.credits[event["batch"]] = self.credits.get(event["batch"], 0) + event["count"]
        elif op == "cancel":
            for batch in self._batches(event["batch"]):
                batch.cancelled = True
        elif op == "preempt":
            self.is_preempted = True
            if self.current is None:
                self.leave(0)
        elif op == "reclaim":
            self._give_back(event["batch"])
        elif op == "flush":
            if self.outbox is not None and self.outbox.batch.key == event["batch"]:
                self.outbox.flush()
        elif op == "released":
            payloads.on_released(event)

    def _batches(self, key: int) -> list[Batch]:
        current = [] if self.current is None else self.current.batches()
        return [batch for batch in (*current, *self.queue) if batch.key == key]

    def _give_back(self, key: int) -> None:
        """Return the inputs of a batch that have not been started."""
        count = 0
        for batch in self._batches(key):
            started = self.position + 1 if batch is self.current else 0
            count = batch.count - started
            batch.count = started
            if not started:
                self.queue.remove(batch)
                batch.close()
        event = {"op": "returned", "batch": key, "count": max(0, count)}
        self.send(frames.control(frames.EVENT, values.encode(event)))

    def wait_for_credit(self, batch: Batch) -> None:
        """Block until the client has taken values of this generator, or cancelled it."""
        self._take(self.stream.receive())
        if batch.cancelled or self.is_preempted:
            self.interrupt()


def serve(channel_fd: int, sdk_fd: int, container_id: str) -> NoReturn:
    """Serve inputs on an inherited connection; never returns."""
    sock = _socket.socket(fileno=channel_fd)
    sock.setblocking(True)
    Runner(FrameStream(sock), sdk_fd, container_id).run()
