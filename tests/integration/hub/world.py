"""A whole hub in one process: its own parts and the agent's are real, what they drive is played.

    Client ──socket pair──► Session ─ Hub ─ Scheduler ─ Agent ──socket pairs──► Container

Clients and containers belong to the test, which says what they send and looks at what they get.
Nothing here starts a process, sleeps or needs a feature of the kernel beyond sockets and pipes.
`World.turn` runs the event loop until nobody has anything more to say.
"""

from __future__ import annotations

import array
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

from volant import config as settings
from volant.sdk import options as sdk_options
from volant.wire import frames, values
from volant.wire.faults import decode_fault, encode_fault
from volant.wire.payloads import dumps, loads
from volant.wire.stream import FrameStream
from volantd.agent.agent import Agent
from volantd.agent.bare import check_trees
from volantd.agent.tasks import Tasks
from volantd.agent.zygotes import Child
from volantd.hub.peer import Peer
from volantd.hub.session import Session
from volantd.main import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from volantd.hub.records import App, Version

#: Rounds of the event loop without news that count as silence.
QUIET_ROUNDS = 4
ROUNDS_MAX = 20_000
NONE = dumps(None)[1]
IMAGE: dict[str, object] = {
    "kind": "host", "python": "/opt/py/bin/python", "prefix": "/opt/py", "base_prefix": "/opt/py",
    "trees": ["/opt/py"], "series": "3.11",
}  # fmt: skip
OPTIONS_GIVEN: dict[str, Any] = {
    "env": None, "cpu": None, "memory": None, "timeout": 300, "startup_timeout": None,
    "retries": None, "min_containers": None, "max_containers": None, "buffer_containers": None,
    "scaledown_window": None, "single_use_containers": False, "block_network": False,
}  # fmt: skip


def function_spec(name: str = "f", *, generates: bool = False, **given: Any) -> dict[str, Any]:
    """A function as the SDK describes it; `given` are keywords of `@app.function`."""
    return {
        "name": name, "module": "m", "qualname": name, "serialized": None, "is_async": False,
        "is_generator": generates, "options": sdk_options.checked(**{**OPTIONS_GIVEN, **given}),
    }  # fmt: skip


def description(*functions: dict[str, Any], base: int = 1 << 16, **fields: Any) -> dict[str, Any]:
    """An app as the SDK describes it."""
    return {
        "name": "app", "detach": False, "output": False, "files": [], "image": dict(IMAGE),
        "entry": {"module": "m", "file": "m.py", "path": [""]},
        "functions": list(functions or [function_spec()]), "base": base, **fields,
    }  # fmt: skip


class Player:
    """One end of a connection to the hub."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        self.world = world
        self.stream = FrameStream(sock)
        self.closed = False
        self.broken = False
        self.received: list[tuple[int, int, bytes, int | None]] = []
        self._unsent = b""

    def send(self, data: bytes, *fds: int) -> None:
        """Send bytes, as far as the hub takes them now; it may have closed its end."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        if fds:
            assert not self._unsent, "a descriptor travels with the bytes it was given with"
        elif self._unsent:
            self._unsent += data
            return
        try:
            sent = self.stream.sock.sendmsg([data], rights if fds else [], socket.MSG_DONTWAIT)
        except BlockingIOError:
            assert not fds, "as above"
            sent = 0
        except OSError:
            return
        self._unsent = data[sent:]

    def send_rest(self) -> bool:
        """Go on sending; True when something could be sent."""
        if not self._unsent:
            return False
        data, self._unsent = self._unsent, b""
        self.send(data)
        return len(self._unsent) < len(data)

    def event(self, op: str, **fields: object) -> None:
        self.send(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def receive(self) -> bool:
        """Take what is there; True when there was anything."""
        if self.closed:
            return False
        try:
            received = self.stream.receive_nowait()
        except ConnectionResetError:
            received = None
        if received is None:
            self.broken = True
            self.close()
            return True
        for kind, flags, body in received:
            fd = self.stream.take_fd() if flags & frames.HAS_FD else None
            self.on_frame(kind, flags, body, fd)
        return bool(received)

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        self.received.append((kind, flags, body, fd))

    def close(self) -> None:
        """Be gone."""
        if not self.closed:
            self.closed = True
            self.stream.close()
            for _, _, _, fd in self.received:
                if fd is not None:
                    os.close(fd)


class Client(Player):
    """A client: sends calls and requests, and files what comes back by number."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        super().__init__(world, sock)
        self.number = 0
        self.replies: dict[int, dict[str, Any]] = {}
        #: number of the call -> index of the input -> (kind, payload, descriptor), unopened
        self.results: dict[int, dict[int, tuple[int, bytes, int | None]]] = {}
        self.events: list[dict[str, Any]] = []
        self.session = ""
        self.deliveries = 0

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        if kind == frames.RESULT:
            number, first, count, _ = frames.HOT.unpack_from(body)
            filed = self.results.setdefault(number, {})
            items = frames.split_items(body[frames.HOT.size :], count)
            for index, (item_kind, payload) in enumerate(items, first):
                self.deliveries += 1
                filed[index] = item_kind, payload, fd
        elif kind == frames.REPLY:
            reply = values.decode_map(body)
            self.replies[reply["id"]] = reply  # type: ignore[index]  # the number it was sent with
        else:
            self.events.append(values.decode_map(body))

    # -- requests

    def ask(self, op: str, **fields: object) -> int:
        """Send a request and return its number."""
        self.number += 1
        body = values.encode({"id": self.number, "op": op, **fields})
        self.send(frames.control(frames.REQUEST, body))
        return self.number

    def request(self, op: str, **fields: object) -> dict[str, Any]:
        """Send a request and return the reply; raises the error that it carries."""
        number = self.ask(op, **fields)
        self.world.turn()
        return self.reply(number)

    def reply(self, number: int) -> dict[str, Any]:
        assert number in self.replies, f"no reply to {number}; broken: {self.broken}"
        reply = self.replies[number]
        if "fault" in reply:
            raise decode_fault(reply["fault"])
        return reply

    def hello(self, session: str = "") -> dict[str, Any]:
        wanted = session or f"{id(self):016x}"[-16:]
        reply = self.request("hello", protocol=1, version="x", session=wanted, pid=os.getpid())
        self.session = reply["session"]
        return reply

    def open(self, *functions: dict[str, Any], **fields: Any) -> str:
        """Run an app of these functions and return its id; they get the numbers from 65536 on."""
        return str(self.request("app_open", app=description(*functions, **fields))["app_id"])

    # -- calls

    def submit(
        self, inputs: list[Any], *, function: int = 1 << 16, flags: int = frames.OPEN | frames.LAST,
        number: int | None = None, first: int = 0,
    ) -> int:  # fmt: skip
        """Send inputs in one frame, without waiting; returns the number of the call."""
        if number is None:
            self.number += 1
            number = self.number
        items = [dumps(((value,), {}))[:2] for value in inputs]
        section = frames.items_section(items)
        frame = frames.hot(frames.SUBMIT, flags, number, first, len(items), function, section)
        self.send(frame)
        return number

    def call(self, value: Any = None, *, function: int = 1 << 16, flags: int = 0) -> int:
        """Call with one input and let the hub work; returns the number of the call."""
        flags |= frames.OPEN | frames.LAST
        number = self.submit([value], function=function, flags=flags)
        self.world.turn()
        return number

    def spawn(self, value: Any = None, *, function: int = 1 << 16) -> str:
        """Call with a result that is kept; returns the id of the call."""
        from volant import ids

        number = self.call(value, function=function, flags=frames.RETAIN)
        self.reply(number)
        return f"fc-{ids.call_id(self.session, number)}"

    def value(self, number: int, index: int = 0) -> Any:
        """The result of an input; raises what the input raised."""
        assert number in self.results, f"no result for {number}; broken: {self.broken}"
        kind, payload, fd = self.results[number][index]
        if kind == frames.FAULT:
            raise decode_fault(payload)
        if kind == frames.EXHAUSTED:
            return StopIteration
        return loads(frames.PICKLE if fd is None else frames.MAPPED, payload, fd)

    def get(self, call_id: str, index: int = 0, *, wait: bool = True) -> int:
        """Ask for a kept result; returns the number that it comes under."""
        number = self.ask("call_get", call=call_id, index=index, wait=wait)
        self.world.turn()
        return number

    def close(self) -> None:
        super().close()
        self.world.clients.discard(self)


class Batch:
    """Inputs that a container was given."""

    def __init__(self, body: bytes) -> None:
        self.key, self.first, self.count, _ = frames.HOT.unpack_from(body)
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
        if kind == frames.INPUT:
            batch = Batch(body)
            self.batches.append(batch)
            if fd is not None:
                os.close(fd)
            if self.world.serve is not None:
                self.answer(batch, self.world.serve)
        elif kind == frames.REQUEST:
            self.start = values.decode_map(body)
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

    source_root = "/root"


class PlayedPrepared:
    """A zygote that forks containers played by the test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.in_use = 0
        self.threads: list[str] = []
        self.zygote = PlayedZygote()

    async def child(self) -> Child:
        if self.world.fork_failures:
            raise self.world.fork_failures.pop(0)
        container = Container(self.world, f"p{len(self.world.containers)}")
        self.world.containers.append(container)
        return Child(container, container.cgroup)  # type: ignore[arg-type]


class PlayedZygotes:
    """What the hub and the agent ask of the store of zygotes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = world.services.machine
        self.on_output: Callable[[str, bytes], None] = lambda key, data: None
        self.prepared = PlayedPrepared(world)
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

    async def get(self, version: Version) -> PlayedPrepared:
        files = [await self.world.services.blobs.get(entry[2]) for entry in version.files]
        self.world.sources.append(files)
        if self.world.prepare_failures:
            raise self.world.prepare_failures.pop(0)
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
        self.group = _Group()
        self.services: Services = self.loop.run_until_complete(self._make(capacity))
        self.hub = self.services.hub
        self.agent = self.services.agent

    async def _make(self, capacity: int) -> Services:
        config = settings.load({"VOLANT_HOME": str(self.home)})
        # Its tasks run in ours, and it is not the one to say when an event has ended.
        group: Any = self.group
        tasks = Tasks(group, lambda: self.hub.after_events())  # noqa: PLW0108
        self.services = services = Services(config, asyncio.get_running_loop(), tasks)
        services.rung = "container"
        services.machine.rung.set_result("container")
        services.zygotes = PlayedZygotes(self)  # type: ignore[assignment]
        services.agent = Agent(services.hub, services.zygotes, services.logs, tasks)
        services.hub.containers = services.agent
        limits = services.hub.scheduler.state.limits  # a failed start is tried again at once
        services.hub.scheduler.state.limits = dataclasses.replace(limits, start_backoff_s=0.001)
        services.hub.apply(services.hub.scheduler.set_capacity(1 << 40, capacity, 0.0), 0.0)
        return services

    def client(self, *, hello: bool = True) -> Client:
        """A client that has just connected."""
        ours, theirs = socket.socketpair()
        client = Client(self, ours)
        self.clients.add(client)
        self.loop.call_soon(self._accept, theirs)
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

    def turn(self) -> None:
        """Let everybody act until nobody has anything more to do."""
        quiet = 0
        for _ in range(ROUNDS_MAX):
            quiet = 0 if self._round(0.0) else quiet + 1
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
        self.loop.close()


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def silence_logs() -> None:
    """The hub says of every broken peer what was wrong; here they break by the thousand."""
    logging.getLogger("volantd").setLevel(logging.CRITICAL)
