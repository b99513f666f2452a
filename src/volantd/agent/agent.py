"""Containers of this machine: started for the hub, watched, and their ends put into words.

start: zygote of the version ─► forked child ─► limits ─► START ─► ready
end:   wait status + cgroup counters ─► cause (clean, crashed, killed, out of memory)
"""

from __future__ import annotations

import difflib
import logging
import signal
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import NotFoundError
from volantd.agent import gpus as devices, limits
from volantd.agent.commands import Commands
from volantd.agent.containers import ends, gangs
from volantd.agent.containers.running import STOP_GRACE_S, Running
from volantd.agent.memory import private_bytes
from volantd.agent.volumes.mounted import MountedVolumes
from volantd.core import ExitCause
from volantd.hub import checks
from volantd.hub.peer import Peer
from volantd.hub.pools import waiting
from volantd.hub.session import Session
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.containers.gangs import Gang
    from volantd.agent.logs import LogStore
    from volantd.agent.tasks import Tasks
    from volantd.agent.zygotes import Child, ZygoteStore
    from volantd.core import StartContainer
    from volantd.hub.environments.record import Environment
    from volantd.hub.hub import Hub
    from volantd.hub.records import App, Function

log = logging.getLogger(__name__)

#: Likewise one whose connection is closed without our doing.
LOST_GRACE_S = 1.0
#: Of an id that was not found, what is looked at and said.
ID_CHARS_MAX = 200


class Agent:
    """The containers of this machine."""

    def __init__(self, hub: Hub, zygotes: ZygoteStore, logs: LogStore, tasks: Tasks) -> None:
        self.hub = hub
        self.zygotes = zygotes
        self.logs = logs
        self._tasks = tasks
        self.machine = zygotes.machine
        zygotes.on_output = partial(self._on_import_output, "stdout")
        zygotes.on_note = self._on_import_note
        self._running: dict[str, Running] = {}
        #: By pool: who takes over what the next container of it was granted.
        self.reserved: dict[str, Callable[[StartContainer], None]] = {}
        #: By the ids that the core knows them by.
        self.gangs: dict[str, Gang] = {}
        #: Apps whose exit hooks somebody waits for.
        self._awaited: list[tuple[App | None, Callable[[], object]]] = []
        self.commands = Commands(self, tasks)
        self.volumes = MountedVolumes(self, tasks)

    # -- what the hub asks

    def start(self, command: StartContainer, function: Function) -> None:
        """Start a container of a function, or let its taker have what it was granted."""
        if take := self.reserved.pop(command.pool_id, None):
            take(command)
            return
        for running in gangs.members(self, command, function):
            self._running[running.container_id] = running
            self.logs.know(running.container_id, function.app.app_id)
            self._tasks.start(self._start(running), "start-container")
        self.hub.note_change(function)
        self.hub.note_room()

    async def _start(self, running: Running) -> None:
        function = running.function
        try:
            prepared = await self.zygotes.get_for(function)
            if running.stop_reason is not None:
                self._never_started(running, running.stop_reason, retryable=True)
                return
            running.prepared = prepared
            prepared.in_use += 1
            running.listeners.open(self.machine, function)
            child = await prepared.child()
        except PrepareFailedError as error:
            self._never_started(running, error.fault, retryable=False)
            return
        except RuntimeFailedError as error:
            self._never_started(running, str(error), retryable=True)
            return
        try:
            await limits.limit(function, child, running.memory_limit_bytes)
            is_built = function.version.image["kind"] != "host"
            await devices.grant(self.machine, running.gpus, child.forked, is_built=is_built)
            await self.volumes.mount(running, child.forked)
        except PrepareFailedError as error:
            self.zygotes.discard(child)
            self._never_started(running, error.fault, retryable=False)
            return
        except (OSError, RuntimeFailedError) as error:
            self.zygotes.discard(child)
            what = "limited" if isinstance(error, OSError) else "given its GPUs"
            self._never_started(running, f"it cannot be {what}: {error}", retryable=True)
            return
        running.child = child
        self._connect(running, child)
        if running.stop_reason is not None:
            child.forked.kill()

    def _never_started(self, running: Running, reason: object, *, retryable: bool) -> None:
        self._running.pop(running.container_id, None)
        if running.prepared is not None:
            running.prepared.in_use -= 1
        running.listeners.close()
        assert running.unit is not None
        running.unit.start_failed(running, reason, retryable=retryable)

    def _connect(self, running: Running, child: Child) -> None:
        """Attach a forked child to the hub and tell it which function it is."""
        forked, hub = child.forked, self.hub
        running.read_pipes(forked)
        forked.exited.add_done_callback(lambda _: self._on_exited(running))
        peer = Peer(forked.channel, hub.loop, hub.outgoing, hub.after_events)
        assert running.unit is not None
        link = running.unit.link(running, peer, lambda reply: self._on_reply(running, reply))
        running.link = hub.links[running.container_id] = link
        link.wanted_ns, link.forked_ns = running.wanted_ns, child.forked_ns
        if running.function.options.get("restricted"):
            forked.sdk.close()  # whatever its code does, nobody hears it
        else:
            sdk_peer = Peer(forked.sdk, hub.loop, hub.outgoing, hub.after_events)
            running.session = Session(hub, sdk_peer, running.function, running.container_id)
        running.listeners.hand_over(link, forked.address)
        running.unit.connected(running, self._start_message(running))

    def _start_message(self, running: Running) -> dict[str, Any]:
        function, prepared = running.function, running.prepared
        assert prepared is not None
        app = function.app
        names = {name: number for number, name in enumerate(app.functions)}
        is_watched = not prepared.imports_anew and self.zygotes.late.watches(function)
        return {
            "app_id": app.app_id,
            "container_id": running.container_id,
            "function": function.spec,
            "parameters": function.parameters,
            "functions": names,
            "entry": prepared.entry_anew(),
            "watched": prepared.source_directories() if is_watched else None,
            "env": running.marks(),
            "threads": limits.thread_count(function),
            "interactive": app.interactive,
            "debug": app.debug,
            "urls": app.urls,
            "volumes": bool(function.options["volumes"]),
            "restricted": function.options.get("restricted", False),
        }

    def _on_reply(self, running: Running, reply: dict[str, Any]) -> None:
        """The container has resolved its function, or could not."""
        if running.stop_reason is not None:
            return  # it ends, so what it says matters no more
        if running.state != "starting":
            raise ValueError("a container answered START twice")
        link, unit = running.link, running.unit
        assert link is not None and unit is not None
        if "fault" in reply:
            running.state = "failed"
            fault = checks.raw(reply, "fault")
            assert running.child is not None
            self.hub.loop.call_later(STOP_GRACE_S, running.child.forked.kill)
            unit.start_failed(running, fault, retryable=False)
            return
        running.state = "running"
        link.imported_ns = monotonic_ns()
        unit.ready(running)
        self.hub.note_change(running.function)

    def tell_status(self, function: Function) -> None:
        """Tell the client that runs an app how one of its functions stands, if that is news."""
        app = function.app
        counts = self.counts_of(function)
        if app.session is not None and app.state != "stopped" and counts != function.told:
            function.told = counts
            app.session.event("status", app_id=app.app_id, function=function.name, **counts)

    def _on_import_note(self, key: str, text: str) -> None:
        """Say something about the import of a program to the apps that are made of it."""
        self._on_import_output("stderr", key, f"volant: {text}\n".encode())

    def _on_import_output(self, stream: str, key: str, data: bytes) -> None:
        """Show what importing a program printed to the apps that are made of it."""
        for app in list(self.hub.apps.values()):
            for function in app.pools():
                if function.version.key == key:
                    self.logs.append(function, "import", stream, data)
                    break
        self.hub.after_events()

    def stop(self, container_id: str, *, kill: bool, reason: str) -> None:
        """Stop a container, or all of the gang that the core knows by this id."""
        gang, alone = self.gangs.get(container_id), self._running.get(container_id)
        for running in gang.members() if gang is not None else [alone] if alone else []:
            self.end(running, kill=kill, reason=reason)

    def end(self, running: Running, *, kill: bool, reason: str) -> None:
        """Stop one container."""
        running.stop_reason = reason
        running.state = "stopping"
        if running.child is None:
            return  # still starting: `_start` sees the reason
        if kill:
            running.child.forked.kill()
        elif running.link is not None:
            running.link.peer.close()  # the end of its inputs: it leaves by itself
            self.hub.loop.call_later(running.grace_s, running.child.forked.kill)

    def lost(self, container_id: str, *, broke_protocol: bool) -> None:
        """A container without a connection ends by itself; one that does not is killed."""
        running = self._running.get(container_id)
        if running is None or running.child is None or running.state == "stopping":
            return
        if broke_protocol:
            self.kill(container_id, "it broke the protocol")
        else:
            self.hub.loop.call_later(LOST_GRACE_S, running.child.forked.kill)

    def interrupt(self, container_id: str) -> None:
        """Make a container read its connection in the middle of user code."""
        running = self._running.get(container_id)
        if running is not None and running.child is not None:
            running.child.forked.kill(signal.SIGUSR1)

    def preempt(self, container_id: str, reason: str) -> None:
        """End a container as soon as its user's code has tidied up; its inputs run elsewhere."""
        running = self._running[container_id]
        if running.child is None or running.link is None or running.state != "running":
            self.kill(container_id, reason)
            return
        running.killed_for = ExitCause.KILLED, reason
        running.state = "stopping"
        self.hub.door.leases.revoke(container_id)
        self.hub.wake(container_id, "preempt")
        self.hub.loop.call_later(running.grace_s, running.child.forked.kill)

    def kill(self, container_id: str, reason: str, cause: ExitCause = ExitCause.KILLED) -> None:
        """Kill a container as somebody from outside would: its inputs run again elsewhere."""
        running = self._running[container_id]
        if running.child is not None:
            running.killed_for = cause, reason
            running.child.forked.kill()

    def unit_of(self, container_id: str) -> str:
        """The id by which the core knows a container, alone or with its gang."""
        running = self._running.get(container_id)
        if running is None or running.unit is None:
            return container_id
        return running.unit.container_id

    def running(self) -> list[Running]:
        """Containers that have a process."""
        return [running for running in self._running.values() if running.child is not None]

    def find(self, container_id: str) -> Running:
        """A container that has a process.

        Raises:
            NotFoundError: when there is none of this id, or it is just about to start.
        """
        running = self._running.get(container_id)
        if running is None or running.child is None:
            wanted = container_id[:ID_CHARS_MAX]
            near = ", ".join(difflib.get_close_matches(wanted, list(self._running), n=3))
            hint = f"did you mean {near}?" if near else "`volant container list` shows all"
            what = f"there is no container {wanted!r}"
            if running is not None:
                what, hint = f"container {wanted!r} only starts", "try again in a moment"
            raise NotFoundError(what, hint=hint)
        return running

    def add(self, function: Function, grant: StartContainer | None = None) -> Running:
        """List a container that serves no inputs; `grant`: what the core gives it."""
        new = ids.new_id("ta") if grant is None else grant.container_id
        running = Running(self, new, function, grant)
        running.state = "shell"
        self._running[running.container_id] = running
        self.logs.know(running.container_id, function.app.app_id)
        return running

    def remove(self, running: Running) -> None:
        """List it no more."""
        self._running.pop(running.container_id, None)

    def close(self, app: App) -> None:
        """End the containers of an app that the hub has not asked for."""
        self.commands.close(app)

    def web_address(self, container_id: str, method: int) -> str:
        """Where a container that is ready serves requests for a web function."""
        return self._running[container_id].listeners.path(method)

    # -- the end of a container

    def _on_exited(self, running: Running) -> None:
        child = running.child
        assert child is not None and running.prepared is not None
        running.drain_logs()
        status = child.forked.exited.result()
        cause, text = ends.cause_of(running, child, status)
        for reader in running.readers:
            reader.close()
        for end in (running.link, running.session):
            if end is not None:
                end.peer.drain()  # results that it sent before it died count
                end.peer.close()
        if running.link is not None:
            running.link.note_death(text)
        self._running.pop(running.container_id, None)
        self.hub.links.pop(running.container_id, None)
        running.prepared.in_use -= 1
        running.listeners.close()
        child.remove_cgroup()
        self.volumes.end(running)
        log.info("container_exited", extra={"fields": {
            "container_id": running.container_id, "cause": cause.name, "text": text,
        }})  # fmt: skip
        self.hub.note_change(running.function)
        self._tell_who_waits()
        assert running.unit is not None
        running.unit.exited(running, cause, text)
        self.hub.note_room()
        self.hub.after_events()

    def is_exiting(self, app: App | None) -> bool:
        """Whether containers of an app, or of any, have exit hooks to run or volumes to commit."""
        mine = (one for one in self._running.values() if app in (None, one.function.app))
        waited = (one.function.options for one in mine if one.child is not None)
        is_any = any(options["has_exit"] or options["volumes"] for options in waited)
        return is_any or self.volumes.is_committing(app)

    def when_exited(self, app: App | None, then: Callable[[], object]) -> None:
        """Do something when no container of an app, or of any, runs exit hooks any more."""
        self._awaited.append((app, then))

    def volumes_committed(self) -> None:
        """Note that the last commit of a container that has ended was made."""
        self._tell_who_waits()
        self.hub.after_events()

    def _tell_who_waits(self) -> None:
        for app, then in list(self._awaited):
            if not self.is_exiting(app):
                self._awaited.remove((app, then))
                then()

    # -- what is shown

    def has(self, container_id: str) -> bool:
        """True while the container is not gone."""
        return container_id in self._running

    def rows(self, environment: Environment | None = None) -> list[dict[str, Any]]:
        """Every container that is not gone; those of an environment where one is named."""
        return [
            self._row(running) for running in self._running.values()
            if environment in (None, running.function.app.environment)
        ]  # fmt: skip

    def _row(self, running: Running) -> dict[str, Any]:
        rung = self.machine.rung.result() if self.machine.rung.done() else "unknown"
        busy = running.link is not None and bool(running.link.held)
        unit_id = self.unit_of(running.container_id)
        container = self.hub.scheduler.state.containers.get(unit_id)
        state = running.state
        if state == "running":
            state = "busy" if busy else "idle"
        return {
            "container_id": running.container_id, "app_id": running.function.app.app_id,
            "function": running.function.name, "state": state, "rung": rung,
            "pid": running.child.forked.pid if running.child is not None else 0,
            "memory_bytes": private_bytes(running.child.forked.pid) if running.child else 0,
            "started_at": running.started_at,
            "inputs_done": 0 if container is None else container.completed,
        }  # fmt: skip

    def count_of(self, app: App) -> int:
        """Containers of an app."""
        return sum(running.function.app is app for running in self._running.values())

    def counts_of(self, function: Function) -> dict[str, Any]:
        """Containers by state, inputs that run or wait, and what is waited for on the machine."""
        mine = [r for r in self._running.values() if r.function is function]
        ready = [r for r in mine if r.state == "running"]
        held = [r.link.held if r.link is not None else 0 for r in ready]
        busy = sum(map(bool, held))
        # A container that runs one at a time holds further ones ahead.
        begun = sum(held) if function.options["max_inputs"] > 1 else busy
        pool = self.hub.scheduler.state.pools.get(function.function_id)
        unfinished = 0
        if pool is not None:
            unfinished = pool.queued_inputs + pool.running_inputs + pool.delayed_inputs
        return {
            "queued": max(0, unfinished - begun),
            "starting": sum(r.state == "starting" for r in mine),
            "running": begun,
            "idle": len(ready) - busy,
            "text": waiting.text_of(self.hub.scheduler, function),
        }

    def drain_logs(self, app: App) -> None:
        """Take everything that an app's containers have printed so far."""
        for running in self._running.values():
            if running.function.app is app:
                running.drain_logs()
