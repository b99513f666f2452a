"""A whole hub in one process: its own parts and the agent's are real, what they drive is played.

    Client ──socket pair──► Session ─ Hub ─ Scheduler ─ Agent ──socket pairs──► Container

Clients and containers belong to the test, which says what they send and looks at what they get.
Nothing here starts a process, sleeps or needs a feature of the kernel beyond sockets and pipes.
`World.turn` runs the event loop until nobody has anything more to say.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import select
import signal
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

import uvloop

from tests.integration.hub.players import Client, Player
from volant import config as settings
from volant.wire import frames, values
from volant.wire.faults import encode_fault
from volant.wire.payloads import dumps, loads
from volantd.agent.agent import Agent
from volantd.agent.bare import check_trees
from volantd.agent.gpus import Installed
from volantd.agent.ports.tunnels import Tunnels
from volantd.agent.tasks import Tasks
from volantd.agent.zygotes import Child
from volantd.hub.peer import Peer
from volantd.hub.session import Session
from volantd.main import Services
from volantd.runtime.client import PrepareFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from volantd.hub.records import App, Function, Version

#: Rounds of the event loop without news that count as silence.
QUIET_ROUNDS = 4
ROUNDS_MAX = 20_000
NONE = dumps(None)[1]
#: Tasks of the hub that wait for a thread.
_WORK_OF_THREADS = frozenset({
    "keep-input", "keep-result", "fetch-result", "look-up-call", "list-calls", "resume-calls",
    "end-call", "look-up-key",
})  # fmt: skip


class Batch:
    """Inputs that a container was given."""

    def __init__(self, flags: int, body: bytes) -> None:
        self.flags = flags
        self.key, self.first, self.count, self.method = frames.HOT.unpack_from(body)
        at = frames.HOT.size + frames.CALL_ID_BYTES
        self.call_id = body[frames.HOT.size : at].decode("ascii")
        self.items = frames.split_items(body[at:], self.count)
        self.done = 0


class PlayedCgroup:
    """What the agent asks of a container's cgroup."""

    def __init__(self) -> None:
        self.limits: list[object] = []
        self.oom_kills = 0

    def limit(self, limits: object) -> None:
        self.limits.append(limits)

    def oom_kill_count(self) -> int:
        return self.oom_kills

    def peak_memory_bytes(self) -> int:
        return 96 << 20

    def remove(self) -> None:
        pass


class Container(Player):
    """A container: what its process would be, and the hub's fork of it."""

    def __init__(self, world: World, container_id: str) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(world, ours)
        self.container_id = container_id
        self.start: dict[str, Any] = {}
        #: Whether START brought the express lane of its client.
        self.has_lane = False
        #: Whether it ends when the hub closes its connection, as the runner does.
        self.leaves = True
        self.batches: list[Batch] = []
        self.signals: list[int] = []
        self.events: list[dict[str, Any]] = []
        sdk, sdk_theirs = socket.socketpair()
        self.user = Client(world, sdk)
        stdout_fd, self.stdout = os.pipe()
        stderr_fd, self.stderr = os.pipe()
        for fd in (stdout_fd, stderr_fd):
            os.set_blocking(fd, False)
        # What the agent knows of it, as `volantd.runtime` would tell:
        self.pid = os.getpid()
        self.channel = theirs
        self.sdk = sdk_theirs
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.scratch_path = ""
        self.address = world.address
        self.cgroup = PlayedCgroup()
        self.exited: asyncio.Future[int] = world.loop.create_future()

    def receive(self) -> bool:
        moved = super().receive()
        if self.broken and self.leaves:
            self.exit(0)
        return moved

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        if self.exited.done():
            return
        self.signals.append(signal_number)
        if signal_number == signal.SIGKILL:
            self.exit(int(signal.SIGKILL))

    def exit(self, status: int) -> None:
        """End as a process does: every descriptor closed, then the wait status."""
        if self.exited.done():
            return
        self.close()
        self.user.close()
        for fd in (self.stdout, self.stderr):
            os.close(fd)
        self.exited.set_result(status)

    def print(self, data: bytes, stream: str = "stdout") -> None:
        os.write(self.stdout if stream == "stdout" else self.stderr, data)

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        if fd is not None:
            os.close(fd)
        if kind == frames.INPUT:
            batch = Batch(flags, body)
            self.batches.append(batch)
            if self.world.serve is not None:
                self.answer(batch, self.world.serve)
        elif kind == frames.REQUEST:
            self.start = values.decode_map(body)
            self.has_lane = fd is not None
            if self.world.starts:
                self.ready()
        else:
            self.events.append(values.decode_map(body))

    def ready(self) -> None:
        """Answer START."""
        self.send(frames.control(frames.REPLY, values.encode({"id": 1, "import_us": 1})))

    def refuse(self, fault: bytes) -> None:
        """Answer START with a fault."""
        self.send(frames.control(frames.REPLY, values.encode({"id": 1, "fault": fault})))

    def answer(self, batch: Batch, function: Callable[[Any], Any]) -> None:
        """Run the rest of a batch and send its outcome in one frame."""
        inputs = batch.items[batch.done :]
        if self.world.opens:
            outcomes = [run_item(function, payload) for _, payload in inputs]
        else:
            outcomes = [(frames.PICKLE, NONE)] * len(inputs)
        self.outcome(batch, outcomes)

    def outcome(self, batch: Batch, items: list[tuple[int, bytes]], fd: int | None = None) -> None:
        """Report the next inputs of a batch."""
        flags = frames.HAS_FD if fd is not None else 0
        if all(kind != frames.FAULT for kind, _ in items):
            flags |= frames.ALL_OK
        if batch.done + len(items) >= batch.count:
            flags |= frames.END
        section = frames.items_section(items)
        first = batch.first + batch.done
        frame = frames.hot(frames.OUTCOME, flags, batch.key, first, len(items), 5, section)
        batch.done += len(items)
        if flags & frames.END and batch in self.batches:
            self.batches.remove(batch)
        self.send(frame, *(() if fd is None else (fd,)))


def run_item(function: Callable[[Any], Any], payload: bytes) -> tuple[int, bytes]:
    """What a container makes of one input."""
    try:
        (argument,), _ = loads(frames.PICKLE, payload, None)
        return dumps(function(argument))[:2]
    except Exception as error:  # noqa: BLE001  # what the played function raises is its outcome
        return frames.FAULT, encode_fault(error)


class PlayedZygote:
    """What the agent looks at of a zygote."""

    source_root = cwd = "/root"


class PlayedPrepared:
    """A zygote that forks containers played by the test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.version: Version
        self.in_use = 0
        self.imports_anew = False
        self.zygote = PlayedZygote()

    def entry_anew(self) -> None:
        """Containers import nothing themselves."""

    def source_directories(self) -> list[str]:
        return [self.zygote.source_root]

    async def child(self) -> Child:
        if self.world.fork_failures:
            raise self.world.fork_failures.pop(0)
        container = Container(self.world, f"p{len(self.world.containers)}")
        self.world.containers.append(container)
        return Child(container, container.cgroup)  # type: ignore[arg-type]


class PlayedLate:
    """What containers have told of their imports, by function."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[str, ...]]] = []

    def watches(self, function: Function) -> bool:
        return True

    def learn(self, function: Function, names: tuple[str, ...]) -> None:
        self.told.append((function.name, names))


class PlayedZygotes:
    """What the hub and the agent ask of the store of zygotes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = world.services.machine
        self.on_output: Callable[[str, bytes], None] = lambda key, data: None
        self.on_note: Callable[[str, str], None] = lambda key, text: None
        self.prepared = PlayedPrepared(world)
        self.late = PlayedLate()
        self.warmed: list[App] = []

    def count(self) -> int:
        return 1

    def check(self, app: App) -> None:
        for function in app.functions.values():
            check_trees(function.version.image["trees"], str(self.world.home))

    def discard(self, child: Child) -> None:
        child.forked.kill()
        for end in (child.forked.channel, child.forked.sdk):
            end.close()
        os.close(child.forked.stdout_fd)
        os.close(child.forked.stderr_fd)

    def warm(self, app: App) -> None:
        self.warmed.append(app)

    async def try_out(self, version: Version) -> bytes | None:
        try:
            await self.get(version)
        except PrepareFailedError as error:
            return error.fault
        return None

    async def get_for(self, function: Function) -> PlayedPrepared:
        return await self.get(function.version)

    async def get(self, version: Version) -> PlayedPrepared:
        files = [await self.world.services.blobs.get(entry[2]) for entry in version.files]
        self.world.sources.append(files)
        if self.world.prepare_failures:
            raise self.world.prepare_failures.pop(0)
        self.prepared.version = version
        return self.prepared


class _Group:
    """As much of a task group as `Tasks` needs."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()

    def create_task(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class World:
    """The hub, its event loop, and everybody who is connected to it."""

    def __init__(self, home: Path, *, capacity: int = 100) -> None:
        self.home = home
        self.loop = uvloop.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.escaped.append(context))
        #: What reached the handler of last resort; always to be empty.
        self.escaped: list[dict[str, Any]] = []
        self.clients: set[Client] = set()
        self.containers: list[Container] = []
        self.sources: list[list[bytes]] = []
        self.prepare_failures: list[Exception] = []
        self.fork_failures: list[Exception] = []
        #: Plays the user's function in every container at once; None: the test answers.
        self.serve: Callable[[Any], Any] | None = None
        #: Whether containers look into their inputs. What was made at random is not unpickled.
        self.opens = True
        #: Whether containers answer START by themselves.
        self.starts = True
        #: Where containers bind their ports.
        self.address = "127.20.0.1"
        self.group = _Group()
        self.services: Services = self.loop.run_until_complete(self._make(capacity))
        self.hub = self.services.hub
        self.agent = self.services.agent

    async def _make(self, capacity: int) -> Services:
        config = settings.load({"VOLANT_HOME": str(self.home)})
        # Its tasks run in ours, and it is not the one to say when an event has ended.
        group: Any = self.group
        tasks = Tasks(group, lambda: self.hub.after_events())  # noqa: PLW0108
        self.services = services = Services(config, asyncio.get_running_loop(), tasks, Installed)
        services.deployments.opened.set_result(None)  # nothing was deployed
        services.deployments.keeping.read.set_result(None)
        await services.hub.unfinished.open()
        services.objects.opened.set_result(None)
        services.volumes.opened.set_result(None)
        services.rung = "container"
        services.machine.rung.set_result("container")
        services.zygotes = PlayedZygotes(self)  # type: ignore[assignment]
        services.agent = Agent(services.hub, services.zygotes, services.logs, tasks)
        services.hub.containers = services.agent
        services.tunnels = Tunnels(services.agent, tasks, "127.0.0.1")
        limits = services.hub.scheduler.state.limits  # a failed start is tried again at once
        services.hub.scheduler.state.limits = dataclasses.replace(limits, start_backoff_s=0.001)
        services.hub.apply(services.hub.scheduler.set_capacity(1 << 40, capacity, 0.0), 0.0)
        return services

    def client(self, *, key: bool = True, hello: bool = True) -> Client:
        """A client that has just connected."""
        ours, theirs = socket.socketpair()
        client = Client(self, ours)
        self.clients.add(client)
        self.loop.call_soon(self._accept, theirs)
        self.turn()
        if key:
            client.event("key", key=self.services.key)
            self.turn()
        if hello:
            client.hello()
        return client

    def _accept(self, sock: socket.socket) -> None:
        Session(self.hub, Peer(sock, self.hub.loop, self.hub.outgoing, self.hub.after_events))

    def _round(self, wait_s: float) -> bool:
        """One turn of the event loop, and of everybody outside it; False when nothing moved."""
        if wait_s:
            self.loop.call_later(wait_s, self.loop.stop)
        else:
            self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        players = [*self.clients, *self.containers, *(c.user for c in self.containers)]
        return True in [player.receive() or player.send_rest() for player in players]

    def _is_writing(self) -> bool:
        """Whether a thread of the hub is at work, which nobody outside can see."""
        working = any(task.get_name() in _WORK_OF_THREADS for task in self.group.tasks)
        return working or self.services.journal.is_busy

    def turn(self) -> None:
        """Let everybody act until nobody has anything more to do."""
        quiet = 0
        for _ in range(ROUNDS_MAX):
            is_writing = self._is_writing()
            moved = self._round(0.001 if is_writing else 0.0)
            quiet = 0 if moved or is_writing else quiet + 1
            if quiet >= QUIET_ROUNDS:
                return
        raise AssertionError("the hub and its peers do not come to rest")

    def until(self, check: Callable[[], object], within_s: float = 5.0) -> None:
        """Let time pass until `check` gives something true: for the hub's own timers."""
        deadline = monotonic() + within_s
        while not check():
            assert monotonic() < deadline, f"not so within {within_s} s"
            self._round(0.005)

    def live(self) -> list[Container]:
        return [container for container in self.containers if not container.exited.done()]

    def check(self) -> None:
        """What holds at every moment, whatever anybody has sent."""
        assert not self.escaped, self.escaped
        self.hub.scheduler.check_invariants()
        witness = self.client()
        status = witness.request("server_status")
        assert status["pid"] == os.getpid()
        witness.close()
        self.turn()
        assert not self.escaped, self.escaped

    def close(self) -> None:
        """End everything, and make sure that nothing is left."""
        for client in list(self.clients):
            client.close()
        self.turn()
        for container in self.live():
            container.exit(0)
        self.turn()
        assert not self.escaped, self.escaped
        for task in list(self.group.tasks):
            task.cancel()
        self.turn()
        for call in self.hub.calls.values():
            for fd in {fd for _, _, fd in call.results.values() if fd is not None}:
                os.close(fd)
        self.services.logs.close()
        self.services.volumes.close()
        self.loop.run_until_complete(self.services.journal.drained())
        self.services.database.close()
        self.turn()
        self.loop.close()


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def silence_logs() -> None:
    """The hub says of every broken peer what was wrong; here they break by the thousand."""
    logging.getLogger("volantd").setLevel(logging.CRITICAL)
