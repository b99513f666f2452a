"""The hub itself: carries out what the core decides, and delivers results.

It owns the scheduler, the books of apps and calls, and one timer. Every event runs to its end
in one callback: core, commands, frames queued, and one flush at the end.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from volant import ids
from volant.wire import frames
from volant.wire.faults import platform_fault, start_fault
from volantd.core import (
    CallCancelled,
    CallFinished,
    CancelRunning,
    Command,
    Dispatch,
    ExitCause,
    FailInput,
    Fault,
    Flush,
    Limits,
    Loss,
    Reclaim,
    Scheduler,
    StartContainer,
    StopContainer,
)
from volantd.hub.deployed import replacing
from volantd.hub.durable.calls import DurableCalls
from volantd.hub.durable.resuming import Unfinished
from volantd.hub.environments.book import Environments
from volantd.hub.loans import Loans
from volantd.hub.peer import Outgoing
from volantd.hub.pools import waiting
from volantd.hub.pools.configuration import pool_config
from volantd.hub.pools.streams import Streams
from volantd.hub.records import App, Call, Function
from volantd.hub.retained import Retained
from volantd.hub.sandboxes.book import Sandboxes
from volantd.hub.schedules.timetable import Timetable
from volantd.hub.web.door import Door

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from volantd.hub.link import ContainerLink
    from volantd.hub.objects.dicts.dicts import Dicts
    from volantd.hub.objects.queues.queues import Queues
    from volantd.hub.objects.registry import Objects
    from volantd.hub.secrets.stored import Secrets
    from volantd.hub.session import Session
    from volantd.main import Services

log = logging.getLogger(__name__)

#: Between two reports to a client of how a function stands.
STATUS_PERIOD_S = 0.1
#: Functions that wait for room whose clients are told each time that there is more or less.
TOLD_OF_ROOM_MAX = 100

#: Apps that are remembered when they have ended; those that printed are known by their logs, too.
ENDED_MAX = 200


class Containers(Protocol):
    """What the hub asks of the agent."""

    def start(self, command: StartContainer, function: Function) -> None:
        """Start a container; report to the hub when it is ready, has failed, has ended."""

    def stop(self, container_id: str, *, kill: bool, reason: str) -> None:
        """Stop a container."""

    def lost(self, container_id: str, *, broke_protocol: bool) -> None:
        """The connection of a container is closed: it ends, or has to."""

    def interrupt(self, container_id: str) -> None:
        """Make a container read its connection in the middle of user code."""

    def tell_status(self, function: Function) -> None:
        """Tell the client that runs an app how one of its functions stands, if that is news."""

    def close(self, app: App) -> None:
        """End the containers of an app that the hub has not asked for."""

    def web_address(self, container_id: str, method: int) -> str:
        """Where a container that is ready serves requests for a web function."""


class Hub:
    """State of the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.outgoing = Outgoing()
        self.scheduler = Scheduler(lambda: ids.new_id("ta"), Limits(events_max=0))
        self.containers: Containers
        self.services: Services
        self.environments = Environments(self)
        self.objects: Objects
        self.dicts: Dicts
        self.queues: Queues
        self.secrets: Secrets
        self.apps: dict[str, App] = {}
        #: Rows of the apps that ended last, the latest at the end.
        self.ended: deque[dict[str, Any]] = deque(maxlen=ENDED_MAX)
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.links: dict[str, ContainerLink] = {}
        self.sessions: set[Session] = set()
        self.retained = Retained(self)
        self.durable = DurableCalls(self)
        self.unfinished = Unfinished(self)
        self.door = Door(self)
        self.loans = Loans()
        self.sandboxes = Sandboxes()
        self.streams = Streams(self)
        self.timetable = Timetable(self)
        #: What to do for each command; looked up by its class, for it is on the path of a call.
        self._carry_out: dict[type[Any], Callable[[Any, float], None]] = {
            Dispatch: self._dispatch,
            CallFinished: self._call_finished,
            StartContainer: self._start,
            StopContainer: self._stop,
            FailInput: self._input_failed,
            CallCancelled: self._call_cancelled,
            CancelRunning: self._cancel_running,
            Reclaim: self._reclaim,
            Flush: self._flush,
        }
        #: Conditions that somebody waits for, looked at after each event: (is it so, say so).
        self.awaited: list[tuple[Callable[[], bool], Callable[[], object]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = float("inf")

    # -- events

    def after_events(self) -> None:
        """End an event: send what is queued, and arm the timer."""
        self.outgoing.flush()
        for is_so, say_so in self.awaited:
            if is_so():
                say_so()
        due = self.scheduler.next_wake()
        if due is None:
            return
        if self._timer is None or due < self._timer_due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_due = due
            self._timer = self.loop.call_later(max(0.0, due - monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = monotonic()
        self.apply(self.scheduler.tick(now), now)
        self.after_events()

    def apply(self, commands: list[Command], now: float) -> None:
        """Carry out what the core decided."""
        for command in commands:
            self._carry_out[type(command)](command, now)

    def note_change(self, function: Function) -> None:
        """Have the client that shows its app's output told, soon and not too often.

        The next change arms the next timer, so a function that stands still costs nothing.
        """
        if function.app.output and not function.change_noted:
            function.change_noted = True
            due = function.told_at + STATUS_PERIOD_S
            self.loop.call_later(max(0.0, due - monotonic()), self._tell_status, function)

    def note_room(self) -> None:
        """Have clients told whose functions wait for room: what is free has changed."""
        for pool in islice(self.scheduler.state.waiting, TOLD_OF_ROOM_MAX):
            self.note_change(self.functions[pool.pool_id])

    def _tell_status(self, function: Function) -> None:
        function.change_noted = False
        function.told_at = monotonic()
        self.containers.tell_status(function)
        self.after_events()

    def note_lack(self, function: Function) -> None:
        """Tell the client that runs an app, once, that this machine has no GPU for a function."""
        session = function.app.session
        pool = self.scheduler.state.pools.get(function.function_id)
        if function.lack_told or session is None or pool is None or not self.services.gpus_known:
            return
        if pool.queued_inputs and self.scheduler.state.fleet.lacks_gpus(pool.need):
            function.lack_told = True
            text = waiting.text_of(self.scheduler, function)
            session.event("notice", text=f"`{function.name}` is {text}")

    def _dispatch(self, command: Dispatch, now: float) -> None:
        batch = command.batch
        call = self.calls.get(batch.call_id)
        if call is None:
            self.door.leases.dispatched(command)
            return
        if call.function.app.output:
            self.note_change(call.function)
        link = self.links[command.container_id]
        method = call.method
        if link.function is not call.function:
            found = replacing.method_of(call, link.function)
            if found is None:
                self.loop.call_soon(self._break_off, command, call, _lost_method(call))
                return
            method = found
        if call.streamed:
            self.loop.call_soon(self._break_off, command, call, _died_midway(call))
        else:
            link.dispatch(batch, call, method, more=command.more)

    def _break_off(self, command: Dispatch, call: Call, payload: bytes) -> None:
        """Fail an input that the container it was given to cannot run."""
        now, batch = monotonic(), command.batch
        verdict, commands = self.scheduler.failed(command.container_id, batch.batch_id, False, now)
        if verdict == "deliver":
            section = frames.items_section(((frames.FAULT, payload),))
            self.deliver(call, batch.first_index, 1, 0, section, None)
        self.apply(commands, now)
        self.after_events()

    def _start(self, command: StartContainer, now: float) -> None:
        self.containers.start(command, self.functions[command.pool_id])

    def _stop(self, command: StopContainer, now: float) -> None:
        self.containers.stop(command.container_id, kill=command.kill, reason=command.reason)

    def _call_finished(self, command: CallFinished, now: float) -> None:
        self._finished(self.calls[command.call_id], now)

    def _call_cancelled(self, command: CallCancelled, now: float) -> None:
        self._cancelled(self.calls[command.call_id])

    def _input_failed(self, command: FailInput, now: float) -> None:
        call, first, count = self.calls.get(command.call_id), command.first_index, command.count
        if call is None:
            self.door.leases.failed(command)
            return
        self._fail(call, first, count, command.fault, command.detail)
        call.function.app.timings.note_failed(call, first, count, command.fault.name.lower())

    def _cancel_running(self, command: CancelRunning, now: float) -> None:
        self.wake(command.container_id, "cancel", batch=command.batch_id)

    def _reclaim(self, command: Reclaim, now: float) -> None:
        self.wake(command.container_id, "reclaim", batch=command.batch_id)

    def _flush(self, command: Flush, now: float) -> None:
        self.wake(command.container_id, "flush", batch=command.batch_id)

    def wake(self, container_id: str, op: str, **fields: object) -> None:
        """Tell a container something at once, also in the middle of user code."""
        for link in self.links[container_id].together():
            link.tell(op, **fields)
            link.peer.flush()
            options = link.function.options
            if options["max_inputs"] == 1 or options["batch_size"]:  # else it always listens
                self.containers.interrupt(link.container_id)

    # -- results

    def deliver(
        self, call: Call, first: int, count: int, exec_us: int, section: bytes, fd: int | None,
        container_id: str = "",
    ) -> None:  # fmt: skip
        """Hand results to whoever the call belongs to; those of a container come with its id."""
        if call.retain:
            self.durable.keep(call, first, count, section, fd, container_id)
            return
        session = call.session
        if session is None or session.peer.closed:
            if fd is not None:
                os.close(fd)
            return
        flags = 0 if fd is None else frames.HAS_FD
        frame = frames.hot(
            frames.RESULT, flags, call.number, first, count, exec_us & 0xFFFFFFFF, section
        )
        session.peer.write(frame, fd)

    def _fail(self, call: Call, first: int, count: int, fault: Fault, detail: object) -> None:
        payload = fault_payload(call.function, fault, detail)
        for at, size, section in frames.repeated(first, count, frames.FAULT, payload):
            self.deliver(call, at, size, 0, section, None)
        if call.made is not None:
            call.made.faults += count

    def _finished(self, call: Call, now: float) -> None:
        call.finished = True
        app = call.function.app
        app.calls.pop(call.call_id, None)
        self.scheduler.forget_call(call.call_id, now)
        self._close_books(call)
        if app.state == "detached":
            # Not here: the command after this one may be for a pool of this app.
            self.loop.call_soon(self.close_unused, app)
        elif app.fading:
            self.loop.call_soon(self._close_faded, app)

    def _close_faded(self, app: App) -> None:
        replacing.close_faded(self, app)
        self.after_events()

    def close_unused(self, app: App) -> None:
        """End a detached app that has nothing to do any more."""
        if app.state == "detached" and not self.is_used(app):
            self.close_app(app, "the last of its calls and sandboxes finished")
            self.after_events()

    def is_used(self, app: App) -> bool:
        """Whether an app has something to do that does not need its client."""
        return bool(app.calls) or bool(self.sandboxes.of(app))

    def _cancelled(self, call: Call) -> None:
        call.function.app.timings.note_failed(call, 0, max(1, call.inputs), "cancelled")
        app = call.function.app
        text = "the call was cancelled"
        if app.state == "stopped":
            text = f"the app `{app.name}` was stopped: {app.stop_reason}"
        payload = platform_fault("InputCancellation", text)
        if call.retain:
            self.durable.fail_rest(call, payload)
        elif call.session is not None and not call.session.peer.closed:
            section = frames.items_section(((frames.FAULT, payload),))
            if call.inputs == 1 or call.stream:
                self.deliver(call, 0, 1, 0, section, None)
            else:
                call.session.refuse(call.number, payload)
        call.finished = True
        call.function.app.calls.pop(call.call_id, None)
        self._close_books(call, cancelled=True)
        self.loop.call_soon(self._forget, call.call_id)

    def _close_books(self, call: Call, *, cancelled: bool = False) -> None:
        if call.session is not None:
            call.session.calls.pop(call.number, None)
        if call.retain:
            self.durable.finish(call, cancelled=cancelled)
        else:
            self.calls.pop(call.call_id, None)
            if call.made is not None:
                call.made.ended(cancelled=cancelled)

    def take_call(self, call: Call) -> None:
        """Take a call into the books."""
        app = call.function.app
        self.calls[call.call_id] = call
        app.calls[call.call_id] = call
        app.call_count += 1
        self.scheduler.open_call(call.call_id, call.function.function_id, monotonic())

    def cancel_call(self, call: Call, *, terminate: bool = False) -> None:
        """Cancel what has not finished of a call."""
        if not call.finished and self.scheduler.has_call(call.call_id):
            now = monotonic()
            self.apply(self.scheduler.cancel_call(call.call_id, terminate, now), now)

    def drop_call(self, call: Call) -> None:
        """Forget a call that could not be kept, whatever has become of it."""
        call.finished = True
        if call.session is not None:
            call.session.calls.pop(call.number, None)
        call.function.app.calls.pop(call.call_id, None)
        self.calls.pop(call.call_id, None)
        self._forget(call.call_id)

    def _forget(self, call_id: str) -> None:
        now = monotonic()
        if self.scheduler.has_call(call_id):
            self.apply(self.scheduler.forget_call(call_id, now), now)
            self.after_events()

    # -- apps

    def open_app(self, app: App) -> None:
        """Take a described app into the books; its pools start to exist."""
        self.apps[app.key] = app
        now = monotonic()
        for function in app.functions.values():
            self.add_pool(function, now)
        self.door.open_app(app)
        self.timetable.add(app)

    def add_pool(self, function: Function, now: float) -> None:
        """Take the pool of a function, or one beside it, into the books."""
        self.functions[function.function_id] = function
        self.apply(self.scheduler.add_pool(function.function_id, pool_config(function), now), now)

    def remove_pool(self, function: Function, now: float) -> None:
        """Take a pool out of the books: what waits in it fails, and its containers end."""
        if self.functions.pop(function.function_id, None) is not None:
            self.apply(self.scheduler.remove_pool(function.function_id, now), now)

    def close_app(self, app: App, reason: str, *, keeps_calls: bool = False) -> None:
        """Stop an app: its calls are cancelled, its containers killed.

        Args:
            app: the app.
            reason: why, for people.
            keeps_calls: leave durable ones to the next daemon.
        """
        if app.state == "stopped":
            return
        was_staged = app.state == "staged"
        app.state, app.stop_reason = "stopped", reason
        self.door.close_app(app)
        log.info("app_closed", extra={"fields": {"app_id": app.app_id, "reason": reason}})
        self.timetable.remove(app)
        for call in list(app.calls.values()):
            if keeps_calls and call.retain:
                self.durable.park(call)
            self.cancel_call(call)
        now = monotonic()
        for function in app.pools():
            self.remove_pool(function, now)
        self.containers.close(app)
        app.calls.clear()
        self.durable.apps.close(app)
        self.apps.pop(app.key, None)
        if not any(one.app_id == app.app_id for one in self.apps.values()):  # no other version
            self.services.sandboxes.close(app, f"its app was stopped: {reason}")
        if not was_staged:
            self.ended.append(app.last_row())
        self.services.images.end_unwanted()
        self.streams.ended(app.app_id)
        if app.session is not None:
            app.session.apps.pop(app.app_id, None)
            for number in app.numbers:
                app.session.functions.pop(number, None)


def _died_midway(call: Call) -> bytes:
    return platform_fault(
        "InternalFailure",
        f"the container of `{call.function.name}` died in the middle of its values: {call.death}",
        "values that came cannot be taken back, so it was not begun anew",
    )


def _lost_method(call: Call) -> bytes:
    name = call.function.spec["methods"][call.method]["name"]
    return platform_fault(
        "NotFoundError", f"this version of class `{call.function.name}` has no method `{name}`"
    )


def fault_payload(function: Function, fault: Fault, detail: object) -> bytes:
    """The fault that a client gets for an input that failed without its code being at fault."""
    name, where = function.name, "@app.cls" if function.spec["methods"] else "@app.function"
    match fault, detail:
        case Fault.TIMEOUT, _:
            return platform_fault(
                "FunctionTimeoutError",
                f"`{name}` ran longer than its timeout of {detail:g} s",
                f"raise it with {where}(timeout=...)",
            )
        case Fault.START_FAILED, bytes() as payload:
            return start_fault(payload)  # the user's own import failed: its exception, as raised
        case Fault.START_FAILED, _:
            text = f"no container for `{name}`: {detail}"
            return start_fault(platform_fault("InternalFailure", text))
        case Fault.LOST, Loss(cause=cause, detail=what, deaths=deaths):
            hint = f"`volant app logs {function.app.app_id}` shows what it printed"
            if cause is ExitCause.OOM:
                hint = (
                    f"raise it with {where}(memory=(request, limit)), counted in MiB, or have "
                    "it raised by retries=Retries(max_retries=..., memory_multiplier=2.0)"
                )
            elif cause is ExitCause.DISK_FULL:
                hint = (
                    f"write less at a time, raise {where}(ephemeral_disk=...) if it has one, "
                    "or free some of the disk that the daemon's home is on"
                )
            return platform_fault(
                "InternalFailure",
                f"the container of `{name}` died {deaths} times while it ran this input; "
                f"the last time: {what or cause.name.lower()}",
                hint,
            )
    return platform_fault("InputCancellation", f"the app of `{name}` was stopped")
