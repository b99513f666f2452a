"""A build step as the agent sees it: started by the launcher, its output read, its end awaited."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.client import Launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """What a step runs, and on what.

    Attributes:
        layers: directories that its root is made of, the lowest first.
        output: a directory with `diff` and `work` in it, both empty; what the step writes comes
            to lie in `diff`, with the owners that the step saw.
        argv: the command; its program is looked for in PATH unless it is a path in the image.
        env: its whole environment.
        cwd: where it starts; made if it is not there.
        shared: directories of the host that it may write to, and where it sees them.
        readable: further ones that it may only read, likewise.
        volumes: see `mounting.start`; each with `target`, `layers` and `writable`.
        cgroup: where it goes, or None.
        limits: what its processes are held to one by one; see `isolate.limit_resources`.
    """

    layers: tuple[str, ...]
    output: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    shared: tuple[tuple[str, str], ...] = field(default=())
    readable: tuple[tuple[str, str], ...] = field(default=())
    volumes: tuple[dict[str, Any], ...] = ()
    cgroup: Cgroup | None = None
    limits: dict[str, int] = field(default_factory=dict)


class Step:
    """One running step. Made by `Launcher.spawn_step`.

    Attributes:
        step_id: of its own.
        pid: on the host.
        views: directories that it writes to through its volumes.
        log_fd: read end (non-blocking) of what it prints; the caller's to close.
        exited: its wait status, once it and all that it started are gone.
    """

    def __init__(self, launcher: Launcher, step_id: str, log_fd: int, spec: StepSpec) -> None:
        self.step_id = step_id
        self.pid = 0
        self.views = tuple(one["writable"] for one in spec.volumes if one["writable"])
        self.log_fd = log_fd
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.state_dir = launcher.state_dir(step_id)
        self._launcher = launcher

    def kill(self) -> None:
        """Kill it and all that it started; `exited` tells when that is done."""
        self._launcher._request({"op": "kill", "id": self.step_id})

    def _sit(self, pid: int) -> None:
        """Note that its process is there."""
        self.pid = pid

    def _lose(self) -> None:
        """It did not start: nothing of it is here."""

    def _on_dead(self, status: int) -> None:
        if not self.exited.done():
            self.exited.set_result(status)
