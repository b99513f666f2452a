"""The launcher as the agent sees it: start it, spawn zygotes, close it.

    Launcher.start() -> .spawn_zygote(spec) -> Zygote.prepare(...) -> Zygote.fork(...) -> container

Owns the launcher process and the socket to it. Nothing here blocks, but for the start of the
launcher itself (about a millisecond, once). Everything of a run is gone when `close` returns,
and also when this process is killed: the launcher sees to that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volant.runner import linux
from volantd.runtime import launcher as launcher_module, leftovers
from volantd.runtime.building.step import Step, StepSpec
from volantd.runtime.command import Command, CommandFailedError, CommandSpec
from volantd.runtime.containers.forked import ForkedContainer
from volantd.runtime.copies.asked import Copies
from volantd.runtime.imports import Prelude, PrepareFailedError, UnfitError
from volantd.runtime.messages.outgoing import Outgoing
from volantd.runtime.outlets import wiring
from volantd.runtime.ports.addresses import Addresses
from volantd.runtime.ports.relays import Relay, Relays
from volantd.runtime.probe import Probe
from volantd.runtime.volumes.mounting import BUSY
from volantd.runtime.zygotes import RuntimeFailedError, Zygote, ZygoteSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.runtime.cgroup import Cgroup

__all__ = [
    "BusyError",
    "Command",
    "CommandFailedError",
    "CommandSpec",
    "ForkedContainer",
    "Launcher",
    "Prelude",
    "PrepareFailedError",
    "Probe",
    "RuntimeFailedError",
    "Step",
    "StepSpec",
    "UnfitError",
    "Zygote",
    "ZygoteSpec",
]

#: First id of the ranges given to templates (beyond those of other software), and how many.
UID_BASE_FIRST, UID_RANGE, UID_RANGES = 0x70000000, 65536, 3072
SPAWN_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 15.0
GRANT_TIMEOUT_S = 15.0
NO_DEVICES, NO_WAY_OUT = "it got no devices", "its network has no way out"


class BusyError(Exception):
    """What is mounted in a container cannot be mounted anew, because it is in use."""


class Launcher:
    """The launcher process, as the agent sees it.

    Attributes:
        probe: what the machine can isolate.
        exited: done when the launcher is gone, for whatever reason; so is every zygote then.
        layers: directories of layers that a process runs on, by its id.
    """

    def __init__(self, run_dir: str, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self.run_dir = run_dir
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._hello: asyncio.Future[Probe] = self._loop.create_future()
        self.probe: Probe
        self._socket = sock
        self._process = process
        self._pidfd = linux.pidfd_open(process.pid)
        self._processes: dict[str, Zygote | Step] = {}
        self._spawning: dict[str, asyncio.Future[int]] = {}
        self._granting: dict[str, asyncio.Future[None]] = {}
        self._mounting: dict[str, asyncio.Future[None]] = {}
        self._wiring: dict[str, asyncio.Future[None]] = {}
        self._mount_count = 0
        self.layers: dict[str, tuple[str, ...]] = {}
        self._outgoing = Outgoing(self._socket, self._loop, self._disconnect)
        #: What was asked to be removed and may still be there.
        self.removing: set[str] = set()
        self._spawn_count = 0
        #: Where ports of containers are bound.
        self.addresses = Addresses()
        self.relays = Relays(self._request)
        self.copies = Copies(self._request)
        self._closed = False
        self._loop.add_reader(sock, self._on_readable)
        self._loop.add_reader(self._pidfd, self._on_process_end)

    @classmethod
    async def start(cls, runs_dir: str | Path, run_id: str) -> Launcher:
        """Start the launcher of a new run.

        Args:
            runs_dir: exists; belongs to this user alone; holds one directory per run.
            run_id: new; letters, digits and hyphens.

        Raises:
            RuntimeFailedError: it did not come up.
        """
        runs = str(Path(runs_dir).resolve())
        lock_fd = leftovers.lock_run(runs, run_id)
        run_dir = os.path.join(runs, run_id)
        os.mkdir(run_dir, 0o755)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        path = os.path.abspath(launcher_module.__file__)
        arguments = [sys.executable, "-I", "-S", path]
        arguments += [str(theirs.fileno()), str(lock_fd), run_dir, run_id]
        # A vfork and an exec: over in about a millisecond, once in the daemon's life.
        process = subprocess.Popen(  # noqa: ASYNC220  # as said; our own file
            arguments,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lock_fd),
            env={leftovers.RUN_VARIABLE: run_id, "PATH": os.defpath},
        )
        theirs.close()
        os.close(lock_fd)
        self = cls(run_dir, ours, process)
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT_S):
                self.probe = await self._hello
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                text = f"the launcher said nothing within {SPAWN_TIMEOUT_S:g} s"
                raise RuntimeFailedError(text) from None
            raise
        return self

    @property
    def is_gone(self) -> bool:
        """True when it takes no more requests, because it was closed or has died."""
        return self._closed

    def gives_addresses(self, spec: ZygoteSpec) -> bool:
        """Whether ports of a zygote's containers are bound at addresses of their own."""
        is_shared = spec.rung == "container" and not spec.block_network
        return is_shared and self.probe.has_private_ports

    def layers_in_use(self) -> set[tuple[str, ...]]:
        """The layers that processes run on, those of one process together."""
        return set(self.layers.values())

    def state_dir(self, zygote_id: str) -> str:
        """Where the files of a zygote lie on the host."""
        return os.path.join(self.run_dir, "z", zygote_id)

    async def spawn_zygote(self, spec: ZygoteSpec, zygote_id: str) -> Zygote:
        """Start a zygote that knows no app yet.

        Raises:
            RuntimeFailedError: with the step that failed.
        """
        if self._closed:
            raise RuntimeFailedError("the launcher is gone")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(log_read, False)
        zygote = Zygote(self, zygote_id, spec, ours, log_read)
        request = {
            "rung": spec.rung, "python": spec.python, "trees": list(spec.trees),
            "layers": list(spec.layers), "over_machine": spec.is_over_machine,
            "workdir": spec.workdir, "entrypoint": list(spec.entrypoint),
            "sdk_dir": spec.sdk_dir, "cloudpickle_dir": spec.cloudpickle_dir,
            "lent_dir": spec.lent_dir, "blank": spec.is_blank,
            "block_network": spec.block_network, "counts_memory": spec.leaves is not None,
            "private_ports": self.gives_addresses(spec), "sandboxes": spec.is_for_sandboxes,
            "runsc": spec.runsc,
            "uid_base": self._next_ids() if spec.rung == "container" else None,
            **self._common(zygote_id, spec.env, spec.cgroup),
        }  # fmt: skip
        await self._spawn(zygote_id, zygote, request, [theirs.detach(), log_write])
        return zygote

    async def spawn_step(self, spec: StepSpec, step_id: str) -> Step:
        """Start a build step.

        Raises:
            RuntimeFailedError: with what failed.
        """
        if self._closed:
            raise RuntimeFailedError("the launcher is gone")
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(log_read, False)
        step = Step(self, step_id, log_read, spec)
        request = {
            "rung": "build", "layers": list(spec.layers), "output": spec.output,
            "argv": list(spec.argv), "cwd": spec.cwd, "shared": [list(one) for one in spec.shared],
            "readable": [list(one) for one in spec.readable],
            "counts_memory": spec.cgroup is not None, "uid_base": self._next_ids(),
            "limits": spec.limits, "volumes": list(spec.volumes),
            **self._common(step_id, spec.env, spec.cgroup),
        }  # fmt: skip
        await self._spawn(step_id, step, request, [log_write])
        return step

    async def _spawn(
        self, process_id: str, process: Zygote | Step, request: dict[str, Any], fds: list[int]
    ) -> None:
        spawned: asyncio.Future[int] = self._loop.create_future()
        self._processes[process_id] = process
        self._spawning[process_id] = spawned
        self.layers[process_id] = tuple(request.get("layers", ()))
        self._request(request, fds)
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT_S):
                process._sit(await spawned)
        except BaseException as error:
            process._lose()
            os.close(process.log_fd)
            if isinstance(error, TimeoutError):
                text = f"{process_id} was not there within {SPAWN_TIMEOUT_S:g} s"
                raise RuntimeFailedError(text) from None
            raise
        finally:
            self._spawning.pop(process_id, None)

    def _common(
        self, process_id: str, env: dict[str, str], cgroup: Cgroup | None
    ) -> dict[str, Any]:
        run_id = os.path.basename(self.run_dir)
        return {
            "op": "spawn", "id": process_id, "state_dir": self.state_dir(process_id),
            "env": {leftovers.RUN_VARIABLE: run_id, **env},
            "cgroup": None if cgroup is None else {"procs_files": cgroup.procs_files},
        }  # fmt: skip

    def _next_ids(self) -> int | None:
        """First of the next range of ids; None for a normal user, who can map only himself."""
        if os.geteuid() != 0:
            return None
        self._spawn_count += 1
        return UID_BASE_FIRST + (os.getpid() + self._spawn_count) % UID_RANGES * UID_RANGE

    async def grant(
        self, container: ForkedContainer, nodes: list[list[Any]], files: list[list[str]]
    ) -> None:
        """Give a container device nodes of its own, and files where its loader looks for them.

        Args:
            container: one of the rung `container`, whose code has not begun.
            nodes: name below /dev, major, minor and mode each.
            files: path on the host and name each.

        Raises:
            RuntimeFailedError: with what failed.
        """
        container_id = container.container_id
        request = {"op": "grant", "id": container_id, "nodes": nodes, "files": files}
        failure = f"container {container_id} got no devices"
        await self._asked_for(container, request, self._granting, failure)

    async def mount(
        self, container: ForkedContainer | Zygote, mounts: list[Any], *ends: socket.socket
    ) -> None:
        """Mount volumes into a container, or layers into a zygote, one after the other.

        Args:
            container: one of the rung `container`.
            mounts: see `volantd.runtime.volumes.mounting`.
            ends: what goes with them, and is given away.

        Raises:
            BusyError: what is mounted there is in use.
            RuntimeFailedError: with what failed.
        """
        self._mount_count += 1
        of = f"mount {self._mount_count}"
        request = {"op": "mount", "id": of, "pid": container.pid, "mounts": mounts}
        await self._asked_for(container, request, self._mounting, "nothing was mounted", *ends)

    async def _asked_for(
        self, container: ForkedContainer | Zygote, request: dict[str, Any],
        waiting: dict[str, asyncio.Future[None]], failure: str, *ends: socket.socket,
    ) -> None:  # fmt: skip
        """Have something done to a container; `waiting` is where its answer is looked for."""
        answer = waiting[request["id"]] = self._loop.create_future()
        try:
            pidfd = linux.pidfd_open(container.pid)  # first: else the ends stay their owner's
            self._request(request, [pidfd, *(one.detach() for one in ends)])
            async with asyncio.timeout(GRANT_TIMEOUT_S):
                await answer
        except OSError as error:  # TimeoutError is one too
            text = f"{failure}: {str(error) or 'it took too long'}"
            raise RuntimeFailedError(text) from error
        finally:
            waiting.pop(request["id"], None)

    def serve_bucket(
        self, program: str, argv: list[str], env: dict[str, str], fds: list[int]
    ) -> Relay:
        """Begin to serve a bucket, to be mounted by the id of the relay; needs root.

        Args:
            program: its path.
            argv: see `volantd.runtime.buckets.serving`.
            env: all of its environment.
            fds: its configuration, and where it prints; closed here.
        """
        request = {"program": program, "argv": argv, "env": env, "uid": self._next_ids()}
        return self.relays.serve(request, fds)

    async def wire(self, container: ForkedContainer, wanted: dict[str, Any]) -> list[socket.socket]:
        """Give a container of a network of its own a way out, as `outlets.wiring` has it.

        Returns:
            What listens there: see `make_sockets`; empty if nothing is to.

        Raises:
            RuntimeFailedError: with what failed.
        """
        wired: asyncio.Future[None] = self._loop.create_future()
        container_id = container.container_id
        self._wiring[container_id] = wired
        request = {"op": "wire", "id": container_id, **wanted}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._request(request, [linux.pidfd_open(container.pid), theirs.detach()])
            async with asyncio.timeout(GRANT_TIMEOUT_S):
                await wired
            ours.setblocking(False)
            _, fds, _, _ = socket.recv_fds(ours, 1, wiring.SOCKETS, socket.MSG_CMSG_CLOEXEC)
            return [socket.socket(fileno=fd) for fd in fds]
        except OSError as error:  # TimeoutError is one too
            text = f"its network has no way out: {str(error) or 'it took too long'}"
            raise RuntimeFailedError(text) from error
        finally:
            ours.close()
            self._wiring.pop(container_id, None)

    def remove(self, path: str) -> None:
        """Have a path below a zygote's state directory deleted, some time soon."""
        self.removing.add(path)
        self._request({"op": "remove", "path": path})

    async def close(self) -> None:
        """Kill all zygotes, remove everything of this run; returns when that is done."""
        self._disconnect()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(self.exited)
        except TimeoutError:
            self._process.kill()
            await self.exited

    # -- messages

    def _request(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        self._outgoing.send(json.dumps(message).encode(), list(fds))

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(launcher_module.MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        message = json.loads(data)
        event, process_id = message["event"], message.get("id", "")
        spawned = self._spawning.get(process_id)
        if event == "hello":
            self._hello.set_result(Probe.from_fields(message["probe"]))
        elif event == "spawned" and spawned is not None:
            spawned.set_result(message["pid"])
        elif event == "failed":
            self._forget(process_id, -1)
            if spawned is not None and not spawned.done():
                spawned.set_exception(RuntimeFailedError(message["reason"]))
        elif event == "relayed":
            self.relays.on_started(process_id, message["reason"])
        elif event == "unrelayed":
            self.relays.on_exited(process_id, message["status"])
        elif event == "exited":
            self._forget(process_id, message["status"])
        elif event == "granted":
            _settle(self._granting, process_id, NO_DEVICES, message["reason"])
        elif event == "mounted":
            self._on_mounted(process_id, message["reason"])
        elif event == "wired":
            _settle(self._wiring, process_id, NO_WAY_OUT, message["reason"])
        elif event == "copied":
            self.copies.on_done(process_id, message["reason"])
        elif event == "removed":
            self.removing.discard(message["path"])

    def _on_mounted(self, of: str, reason: str) -> None:
        mounted = self._mounting.get(of)
        if mounted is None or mounted.done():
            return
        if reason.startswith(BUSY):
            mounted.set_exception(BusyError(reason))
        elif reason:
            mounted.set_exception(RuntimeFailedError(f"nothing was mounted: {reason}"))
        else:
            mounted.set_result(None)

    def _forget(self, process_id: str, status: int) -> None:
        process = self._processes.pop(process_id, None)
        self.layers.pop(process_id, None)
        if process is not None:
            process._on_dead(status)
            self.remove(process.state_dir)

    def _disconnect(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._outgoing.drop()
        self._socket.close()
        self.addresses.close()

    def _on_process_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()  # it has ended: this only takes the status
        self._disconnect()
        for process_id in list(self._processes):
            self._forget(process_id, signal.SIGKILL)
        for waiting, what in ((self._granting, NO_DEVICES), (self._wiring, NO_WAY_OUT)):
            for container_id in list(waiting):
                _settle(waiting, container_id, what, "the launcher is gone")
        for of in list(self._mounting):
            self._on_mounted(of, "the launcher is gone")
        self.relays.lose()
        self.copies.lose()
        for spawned in self._spawning.values():
            if not spawned.done():
                spawned.set_exception(RuntimeFailedError("the launcher is gone"))
        if not self._hello.done():
            text = f"the launcher ended with status {status} before it was up"
            self._hello.set_exception(RuntimeFailedError(text))
        self.exited.set_result(status)


def _settle(
    waiting: dict[str, asyncio.Future[None]], container_id: str, what: str, reason: str
) -> None:
    """Tell whoever waits for something of a container how it went; "" for well."""
    done = waiting.get(container_id)
    if done is None or done.done():
        return
    if reason:
        done.set_exception(RuntimeFailedError(f"{what}: {reason}"))
    else:
        done.set_result(None)
