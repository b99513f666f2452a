"""One sandbox: what was asked for, how far it is, and how it ended.

    created ─► scheduled ─► started ─► [ready] ─► finished
       └──────────┴────────────┴──────────┴──────────▲
                               └ paused, resumed ┘

Plain records; whoever carries a change out calls `advance` or `finish`, and whoever waits for one
awaits a future. Invariant: a sandbox never goes back, and what has finished stays so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from time import time
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire import values

if TYPE_CHECKING:
    from volantd.egress.policy import Network
    from volantd.hub.records import App, Function
    from volantd.hub.sandboxes.outbound import Outbound

#: What a shell says of a process that SIGKILL ended, and of one that has taken too long.
TERMINATED_CODE, TIMED_OUT_CODE = 137, 124
#: Of why one never started, in a list.
FAILURE_CHARS_MAX = 300


class State(Enum):
    """How far a sandbox is."""

    #: known, and waiting for its image
    CREATED = 1
    #: its image is here: it is being forked
    SCHEDULED = 2
    #: it is isolated, and its program runs if it has one
    STARTED = 3
    #: its probe has said so
    READY = 4
    #: nothing of it runs any more
    FINISHED = 5


class Ending(Enum):
    """Why a sandbox has finished."""

    #: its program has ended
    EXITED = 1
    #: somebody or something ended it: a request, the end of its app, idleness
    TERMINATED = 2
    #: its time was over
    TIMED_OUT = 3
    #: it never started
    FAILED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a sandbox ended; `fault` is for clients, of one that never started."""

    ending: Ending
    code: int
    reason: str = ""
    fault: bytes = b""

    def as_fields(self) -> dict[str, Any]:
        """For a reply."""
        reason = self.reason or _failure(self.fault)
        return {"ending": self.ending.name.lower(), "code": self.code, "reason": reason}


def _failure(fault: bytes) -> str:
    """In words for a list: why one never started; nothing where that is not known."""
    try:
        message = values.decode_map(fault).get("message") if fault else None
    except ValueError:
        message = None
    if not isinstance(message, str) or not message:
        return ""
    return f"it could not be started: {message[:FAILURE_CHARS_MAX]}"


def terminated(reason: str) -> Result:
    """What becomes of a sandbox that is ended from outside."""
    return Result(ending=Ending.TERMINATED, code=TERMINATED_CODE, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that is reached by a tunnel from the start on."""

    number: int
    #: whether connections without TLS were asked for
    is_plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What says that a sandbox is ready: a port that accepts, or a command that succeeds."""

    interval_s: float
    port: int = 0
    argv: tuple[str, ...] = ()


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, kw_only=True, eq=False)
class Sandbox:
    """One sandbox. Its image, variables, limits and volumes are those of `function`."""

    sandbox_id: str
    app: App
    function: Function
    #: of one that user code in a container has made: see `App.sponsor`
    sponsor: str = ""
    name: str | None
    tags: dict[str, str]
    #: its program; empty for one that idles
    argv: tuple[str, ...]
    #: what its programs run on: `container` is this machine's kernel, `gvisor` one of its own;
    #: `auto` until that is chosen, as it is started
    runtime: str
    #: where its commands work; None for where its image says
    workdir: str | None
    timeout_s: float
    idle_timeout_s: float | None
    #: rows and columns of its program's terminal
    terminal: tuple[int, int] | None
    ports: tuple[Port, ...]
    probe: Probe | None
    #: the sandbox that it is a sidecar of, by its id; "" for none
    sidecar_of: str = ""
    #: whom it may reach; None when its network is the machine's, or there is none
    outbound: Outbound | None = None
    #: from where its ports are reached; None for everywhere
    inbound: tuple[Network, ...] | None = None
    #: whether an image of its files is made when it is ended, and which that was
    leaves_image: bool = False
    exit_image_id: str = ""
    #: whether what its program prints is shown by the client that runs its app
    verbose: bool = False
    created_at: float = field(default_factory=time)
    started_at: float | None = None
    finished_at: float | None = None
    state: State = State.CREATED
    #: whether nothing in it runs until it is resumed
    is_paused: bool = False
    result: Result | None = None
    #: of the container that it is
    container_id: str = ""
    pid: int = 0
    #: done when it has started, or will not
    started: asyncio.Future[None] = field(default_factory=_future)
    #: done when it is ready, or will not be
    ready: asyncio.Future[None] = field(default_factory=_future)
    finished: asyncio.Future[Result] = field(default_factory=_future)

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it runs any more, or it is as good as over."""
        return self.state is State.FINISHED

    def check_kernel(self, what: str) -> None:
        """See to it that something reaches into it that only this machine's kernel can do.

        Raises:
            InvalidError: it has a kernel of its own.
        """
        if self.runtime == "gvisor":
            raise InvalidError(
                f"{what} needs this machine's kernel, and {self.sandbox_id} runs on gVisor's",
                hint="create it with runtime='container'",
            )

    def check_alone(self, what: str) -> None:
        """See to it that something is asked of a sandbox, not of a sidecar of one.

        Raises:
            InvalidError: it is a sidecar.
        """
        if self.sidecar_of:
            raise InvalidError(
                f"{self.sandbox_id} is a sidecar, for which there is no {what}",
                hint=f"its sandbox is {self.sidecar_of}",
            )

    def advance(self, state: State) -> None:
        """Note that it is further than before; nothing happens when it has finished."""
        if self.is_finished:
            return
        assert state.value > self.state.value, (self.state, state)
        self.state = state
        if state is State.STARTED:
            self.started_at = time()
            self.started.set_result(None)
        elif state is State.READY:
            self.ready.set_result(None)

    def finish(self, result: Result) -> None:
        """Note how it ended; the first word counts."""
        if self.is_finished:
            return
        self.state, self.result, self.finished_at = State.FINISHED, result, time()
        self.finished.set_result(result)
        for waiting in (self.started, self.ready):
            if not waiting.done():
                waiting.set_result(None)

    def _state_in_words(self) -> str:
        if self.is_paused and not self.is_finished:
            return "paused"
        return self.state.name.lower()

    def row(self) -> dict[str, Any]:
        """The sandbox as lists show it."""
        return {
            "sandbox_id": self.sandbox_id, "app_id": self.app.app_id, "app": self.app.name,
            "environment": self.app.environment.name, "exit_image_id": self.exit_image_id or None,
            "name": self.name, "tags": self.tags, "state": self._state_in_words(),
            "container_id": self.container_id, "pid": self.pid, "argv": list(self.argv),
            "runtime": self.runtime, "sidecar_of": self.sidecar_of or None,
            "created_at": self.created_at, "started_at": self.started_at,
            "finished_at": self.finished_at, "timeout_s": self.timeout_s,
            "result": None if self.result is None else self.result.as_fields(),
        }  # fmt: skip
