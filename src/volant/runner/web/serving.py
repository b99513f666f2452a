"""Serves a container whose function, or methods of whose class, answer to the web.

    gateway ──HTTP on a listening socket of ours──► uvicorn on the loop ──► the user's ASGI app
    hub     ──INPUT──► plain methods of the same class, in tasks and threads beside it

Everything runs on one event loop of the main thread, which also reads the connection to the hub. At
the end nothing more is accepted, requests that are under way may finish, the app's lifespan is shut
down, and exit hooks run.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import traceback
from email.utils import formatdate
from time import time

from volant import _context
from volant.errors import InvalidError
from volant.runner.inputs.several import AsTasks
from volant.runner.web import ahead, apps, ending, forwarded
from volant.runner.web.lifespan import Lifespan
from volant.runner.web.relay import SEND_BYTES, Relay
from volant.runner.web.turns import Turns
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from volant.runner.loop import Runner
    from volant.runner.web.lifespan import App

#: Requests may take so long after the end has begun; hooks have what is left of the hub's 30 s.
REQUESTS_GRACE_S = 25.0
#: Requests whose clients are gone, once the end has begun; and what is cancelled, to clean up.
ABANDONED_S = 0.5
CANCELLED_S = 1.0
#: Connections that wait to be accepted.
BACKLOG = 1024
#: The head of a request; the gateway takes less.
HEAD_BYTES_MAX = 256 << 10
#: Who connects, the gateway, decides how long an idle connection is kept.
KEEP_ALIVE_S = 7 * 86400
#: Kinds that a server of the user's own answers, at a port.
_AT_PORTS = ("server", "stateless")
_PLAIN = {"is_async": False, "is_generator": False}


class HttpServer:
    """One ASGI app on one listening socket."""

    def __init__(
        self, app: App, listener: socket.socket, threads: int, slots: asyncio.Semaphore,
        after_each: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`after_each`: called when a request is over."""
        import uvicorn

        self._turns = Turns(app, slots, after_each)
        served = forwarded.completed(self._turns)
        config = uvicorn.Config(
            served, lifespan="off", interface="asgi3", loop="none", log_config=None,
            access_log=False, proxy_headers=False, server_header=False,
            backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_S, ws_max_size=sys.maxsize,
            ws_ping_interval=None, h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )  # fmt: skip
        config.load()
        config.http_protocol_class = _roomy(config.http_protocol_class)
        self._threads = threads
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._server.server_state = _shared_state()
        self._lifespan = Lifespan(app)

    async def start(self) -> None:
        """Run the app's startup, then accept.

        Raises:
            BaseException: what its startup raised.
        """
        apps.allow_threads(self._threads)
        server: Any = self._server
        server.lifespan = self._lifespan
        await server.startup(sockets=[self._listener])

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let requests finish for so long, and run the app's shutdown."""
        state: Any = self._server.server_state
        for server in getattr(self._server, "servers", ()):
            server.close()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + grace_s
        # Until what is sent has left this process.
        waiting = asyncio.ensure_future(state.connections.wait_until_empty())
        await asyncio.wait([waiting], timeout=grace_s)
        waiting.cancel()
        self._turns.is_ending = True
        # Nobody waits for answers any more where all connections are gone.
        abandoned = state.tasks & self._turns.unanswered
        await _end(abandoned, 0.0 if state.connections else ABANDONED_S)
        # Background tasks are done as well.
        await _end(state.tasks - abandoned, deadline - asyncio.get_running_loop().time())
        await self._lifespan.shutdown()


async def _end(tasks: set[asyncio.Task[None]], grace_s: float) -> None:
    """Let tasks finish for so long, then have them clean up, for a moment."""
    if not tasks:
        return
    _, unfinished = await asyncio.wait(tasks, timeout=max(grace_s, 0.0))
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished, timeout=CANCELLED_S)


class Connections(set):  # type: ignore[type-arg]  # of whatever protocols that uvicorn has
    """The connections of a server, and a way to wait for the end of the last."""

    def __init__(self) -> None:
        super().__init__()
        self._is_empty = asyncio.Event()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        if not self:
            self._is_empty.set()

    async def wait_until_empty(self) -> None:
        """Wait until there is none."""
        while self:
            self._is_empty.clear()
            await self._is_empty.wait()


def _roomy(protocol: Any) -> Any:
    """A kind of connection with more room for what was sent and not read: large answers need it."""

    class Roomy(protocol):  # type: ignore[misc]  # of whatever parser there is
        def connection_made(self, transport: asyncio.Transport) -> None:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES
            )
            super().connection_made(transport)

    return Roomy


def _shared_state() -> Any:
    """What uvicorn's connections share; their `date` is made when it is asked for.

    uvicorn makes it anew each second, which would wake every idle container.
    """
    from uvicorn.server import ServerState

    class SharedState(ServerState):
        def __init__(self) -> None:
            super().__init__()
            self.connections: Any = Connections()

        @property
        def default_headers(self) -> list[tuple[bytes, bytes]]:
            return [(b"date", formatdate(time(), usegmt=True).encode())]

        @default_headers.setter
        def default_headers(self, value: object) -> None:
            pass

    return SharedState()


class Serving(AsTasks):
    """Runs web servers beside inputs; takes the place of the loop in `loop.py`."""

    def __init__(
        self, raws: list[Callable[..., Any]], forms: list[dict[str, Any]], runner: Runner,
        max_inputs: int,
    ) -> None:  # fmt: skip
        """Start what answers to the web.

        Raises:
            BaseException: what user code raises in its function or in a lifespan's startup.
        """
        ahead.make_findable()
        _context.answers_requests = True
        webs = [form["web"] for form in forms]
        super().__init__(
            [_refusing(raw) if web else raw for raw, web in zip(raws, webs, strict=True)],
            [_PLAIN if form["web"] else form for form in forms],
            runner, max_inputs,
        )  # fmt: skip
        self._requests_grace_s = REQUESTS_GRACE_S
        #: Counted like an input: the end waits for it.
        self._running = 1
        self._max_inputs = max_inputs
        self._servers: list[HttpServer | Relay] = []
        found = [
            (index, raw, web)
            for index, (raw, web) in enumerate(zip(raws, webs, strict=True))
            if web
        ]
        # Plain functions of users run where no loop does, as they are used to.
        served = [(index, web, self._target(raw, web)) for index, raw, web in found]
        self._loop.run_until_complete(self._start(served))

    def _target(self, raw: Callable[..., Any], web: dict[str, Any]) -> App | None:
        """The app of a web function; None for one that starts a server of its own."""
        if web["kind"] not in _AT_PORTS:
            return apps.app_of(raw, web, self._max_inputs)
        if web["kind"] == "stateless":  # its enter hooks have started what listens
            self._requests_grace_s = float(web["drain_s"])
            self.runner.has_children = True
        else:
            raw()
        return None

    async def _start(self, served: list[tuple[int, dict[str, Any], App | None]]) -> None:
        slots = asyncio.Semaphore(self._max_inputs)
        for index, web, app in served:
            listener = socket.socket(fileno=self.runner.listeners.pop(index))
            listener.setblocking(False)
            server: HttpServer | Relay
            if app is None:
                server = Relay(web["port"], listener, web["startup_timeout_s"], self._report_health)
            else:
                server = HttpServer(app, listener, self._max_inputs, slots, self._tell_late)
            await server.start()
            self._servers.append(server)

    def _report_health(self, answers: bool) -> None:
        """Tell the hub whether the user's own server answers; it decides what that means."""
        event = values.encode({"op": "health", "answers": answers})
        with self.lock:
            if not self.is_over:
                self.runner.send(frames.control(frames.EVENT, event))

    def end(self) -> None:
        """End the process after what is under way; from any thread."""
        if not self.is_over:
            self._loop.call_soon_threadsafe(self._begin_winding_down)
        super().end()

    def _begin_winding_down(self) -> None:
        self._ending = self._loop.create_task(self._wind_down())

    async def _wind_down(self) -> None:
        stops = [server.stop(self._requests_grace_s) for server in self._servers]
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if failure is not None:
                traceback.print_exception(failure)
        if self.runner.has_children:
            ending.terminate_descendants()
        self._running -= 1
        super().end()


def _refusing(raw: Callable[..., Any]) -> Callable[..., NoReturn]:
    """What an input of a web function is run by: nobody but a client of old code sends one."""
    name = getattr(raw, "__name__", "a function")

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise InvalidError(
            f"`{name}` answers to the web and takes no inputs", hint="send a request to its URL"
        )

    return refuse
