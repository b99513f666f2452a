"""The agent's face of the runtime: launcher, zygotes and containers as asyncio objects.

    Launcher.start() -> .spawn_zygote(spec) -> Zygote.prepare(...) -> Zygote.fork(...) -> container

Owns the agent's ends of all sockets and pipes until they are handed over. It uses `add_reader`
and `add_writer` on raw non-blocking sockets only, so any event loop will do, and nothing in it
blocks. Both rungs look the same from here. What zygotes and containers send is hostile:
malformed input ends that zygote, never the agent.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from volant.runner import control
from volantd.runtime import launcher as launcher_module, leftovers
from volantd.runtime.cgroup import Cgroup
from volantd.runtime.probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Largest read from a zygote at once.
READ_BYTES = 1 << 16
#: Bytes of a child's complaint that are kept.
COMPLAINT_BYTES_MAX = 4096
#: First id of the ranges given to templates, and how many ranges there are.
UID_BASE_FIRST, UID_RANGE, UID_RANGES = 0x20000000, 65536, 8192
#: Fork to "isolated"; a machine that is far too busy is given this long.
FORK_TIMEOUT_S = 30.0
SPAWN_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 15.0


class RuntimeFailedError(Exception):
    """The launcher, a zygote or a container could not be started, or died on the way."""


class PrepareFailedError(Exception):
    """The user's import raised; `fault` is the encoded exception (see `volant.wire.faults`)."""

    def __init__(self, fault: bytes) -> None:
        super().__init__("importing the user's module failed")
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteSpec:
    """What a zygote is made of; nothing in it belongs to one app.

    Attributes:
        rung: "container" or "process".
        python: the interpreter, by a path that lies in one of `trees`.
        trees: directories shown to containers, read-only as far as the host is concerned.
        sdk_dir: the directory that contains the package `volant`.
        cloudpickle_dir: the package directory of cloudpickle.
        env: the whole environment of the interpreter.
        block_network: no network but its own loopback.
        cgroup: where the zygote itself goes, or None.
    """

    rung: str
    python: str
    trees: tuple[str, ...]
    sdk_dir: str
    cloudpickle_dir: str
    env: dict[str, str] = field(default_factory=dict)
    block_network: bool = False
    cgroup: Cgroup | None = None


class ForkedContainer:
    """A fully isolated process that waits for START on its channel.

    Attributes:
        container_id: as given.
        pid: its pid on the host.
        channel: our end of the channel (non-blocking stream socket); the caller's to close.
        sdk: our end of the SDK channel (non-blocking); the caller's to close.
        stdout_fd, stderr_fd: read ends (non-blocking); the caller's to close.
        exited: the wait status, once it has exited.
    """

    def __init__(self, container_id: str, ends: _Ends, exited: asyncio.Future[int]) -> None:
        self.container_id = container_id
        self.pid = 0
        self.channel = ends.channel
        self.sdk = ends.sdk
        self.stdout_fd = ends.stdout_fd
        self.stderr_fd = ends.stderr_fd
        self.exited = exited
        self._pidfd = -1
        self._scratch = ""

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing happens when it has exited."""
        if self.exited.done() or self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal_number)

    def _identify(self, pid: int) -> None:
        self.pid = pid
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(pid)

    def _forget(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class _Ends:
    """The sockets and pipes of one container: ours to keep, the child's to send."""

    def __init__(self) -> None:
        self.channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sdk, sdk = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stdout_fd, stdout = os.pipe2(os.O_CLOEXEC)
        self.stderr_fd, stderr = os.pipe2(os.O_CLOEXEC)
        self.channel.setblocking(False)
        self.sdk.setblocking(False)
        os.set_blocking(self.stdout_fd, False)
        os.set_blocking(self.stderr_fd, False)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.child_fds = [channel.detach(), sdk.detach(), stdout, stderr]

    def close_ours(self) -> None:
        self.channel.close()
        self.sdk.close()
        os.close(self.stdout_fd)
        os.close(self.stderr_fd)


class Zygote:
    """One zygote. Made by `Launcher.spawn_zygote`.

    Attributes:
        pid: on the host.
        log_fd: read end of what the zygote itself prints (import output); the caller's to close.
        exited: its wait status, once it has exited. All its containers are dead then.
        source_root: where its sources lie, as its containers see it.
    """

    def __init__(
        self, launcher: Launcher, zygote_id: str, spec: ZygoteSpec, sock: socket.socket, log_fd: int
    ) -> None:
        self.zygote_id = zygote_id
        self.spec = spec
        self.pid = 0
        self.log_fd = log_fd
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.state_dir = launcher.state_dir(zygote_id)
        is_container = spec.rung == "container"
        self.source_root = "/root" if is_container else os.path.join(self.state_dir, "root")
        self._launcher = launcher
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._parser = control.Parser()
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        self._prepared: asyncio.Future[dict[str, Any]] | None = None
        self._forking: dict[str, asyncio.Future[int]] = {}
        self._containers: dict[str, ForkedContainer] = {}
        self._closed = False
        self._loop.add_reader(sock, self._on_readable)

    # -- verbs

    async def prepare(
        self,
        files: Sequence[tuple[str, int, bytes]],
        entry: dict[str, Any] | None,
        env: dict[str, str],
        *,
        timeout_s: float,
    ) -> dict[str, Any]:
        """Write sources, set the environment, import the user's module.

        Returns:
            `import_us` and `threads` (names of threads that the import left; none is good).

        Raises:
            PrepareFailedError: the import raised.
            RuntimeFailedError: the zygote died or `timeout_s` passed (it is killed then).
        """
        assert self._prepared is None, "one prepare at a time"
        self._check_alive()
        self._prepared = self._loop.create_future()
        fields = {"files": [list(file) for file in files], "entry": entry, "env": env}
        self._send(control.pack(control.PREPARE, fields), [])
        try:
            async with asyncio.timeout(timeout_s):
                return await self._prepared
        except TimeoutError:
            self.kill()
            text = f"importing the user's module took longer than {timeout_s:g} s"
            raise RuntimeFailedError(text) from None
        finally:
            self._prepared = None

    async def fork(
        self,
        container_id: str,
        *,
        hostname: str,
        limits: dict[str, int] | None = None,
        cgroup: Cgroup | None = None,
    ) -> ForkedContainer:
        """Start a container; returns when it is isolated and in its cgroup.

        Args:
            container_id: a file name; unique within this zygote.
            hostname: at most 64 bytes.
            limits: any of `files`, `file_size_bytes`, `memory_bytes` (address space),
                `processes`.
            cgroup: limited already; the caller removes it after the exit.

        Raises:
            RuntimeFailedError: with what the child said.
        """
        self._check_alive()
        assert container_id not in self._containers, f"{container_id} is already there"
        ends = _Ends()
        container = ForkedContainer(container_id, ends, self._loop.create_future())
        self._containers[container_id] = container
        started: asyncio.Future[int] = self._loop.create_future()
        self._forking[container_id] = started
        fields = {"id": container_id, "hostname": hostname, "limits": limits or {}}
        self._send(control.pack(control.FORK, fields, control.FORK_FDS), ends.child_fds)
        self._loop.add_reader(ends.channel, self._on_hello, container, started)
        try:
            async with asyncio.timeout(FORK_TIMEOUT_S):
                container._identify(await started)
            if cgroup is not None:
                cgroup.add(container.pid)
        except BaseException as error:
            self._loop.remove_reader(ends.channel)
            container.kill()
            ends.close_ours()
            if isinstance(error, TimeoutError):
                text = f"container {container_id} was not ready within {FORK_TIMEOUT_S:g} s"
                raise RuntimeFailedError(text) from None
            if isinstance(error, OSError):
                raise RuntimeFailedError(f"container {container_id}: {error}") from error
            raise
        finally:
            self._forking.pop(container_id, None)
        return container

    def kill(self) -> None:
        """Kill the zygote and with it all its containers; `exited` tells when that is done."""
        self._launcher._request({"op": "kill", "id": self.zygote_id})

    # -- outgoing

    def _send(self, data: bytes, fds: list[int]) -> None:
        self._outgoing.append((memoryview(data), fds))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            view, fds = self._outgoing[0]
            try:
                if fds:
                    rights = array.array("i", fds)
                    done = self._socket.sendmsg(
                        [view], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                    )
                else:
                    done = self._socket.send(view)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                self._lose()
                return
            for fd in fds:
                os.close(fd)
            self._outgoing.popleft()
            if done < len(view):
                self._outgoing.appendleft((view[done:], []))
        self._loop.remove_writer(self._socket)

    # -- incoming

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
            messages = self._parser.feed(data)
        except BlockingIOError:
            return
        except (OSError, control.ControlError):
            self._lose()
            return
        if not data:
            self._lose()
            return
        for kind, fields in messages:
            try:
                self._on_message(kind, fields)
            except (KeyError, TypeError, ValueError):
                self._lose()  # well formed, but not what this protocol says
                return

    def _on_message(self, kind: int, fields: dict[str, Any]) -> None:
        if kind in (control.READY, control.PREPARE_FAILED):
            if self._prepared is None or self._prepared.done():
                return
            if kind == control.READY:
                names = [str(name)[:100] for name in fields["threads"][:100]]
                answer = {"import_us": int(fields["import_us"]), "threads": names}
                self._prepared.set_result(answer)
            else:
                self._prepared.set_exception(PrepareFailedError(bytes(fields["fault"])))
        elif kind == control.FORKED:
            self._note_scratch(fields["id"], fields["scratch"])
        elif kind == control.FORK_FAILED:
            self._fail_fork(fields["id"], str(fields["reason"])[:COMPLAINT_BYTES_MAX])
            self._containers.pop(fields["id"], None)
        elif kind == control.EXITED:
            self._on_exited(fields["id"], int(fields["status"]))

    def _on_hello(self, container: ForkedContainer, started: asyncio.Future[int]) -> None:
        """First word of a child: H (with its pid, from the kernel) or E and a text."""
        try:
            space = socket.CMSG_SPACE(12)
            data, ancillary, _, _ = container.channel.recvmsg(1, space)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        self._loop.remove_reader(container.channel)
        if started.done():
            return
        if data == b"H":
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    container.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
                    started.set_result(int.from_bytes(raw[:4], sys.byteorder))
                    return
        text = "it died before it was isolated"
        if data == b"E":
            with contextlib.suppress(OSError):
                raw_text = container.channel.recv(COMPLAINT_BYTES_MAX)
                text = raw_text.decode("utf-8", "replace")
        error = RuntimeFailedError(f"container {container.container_id}: {text}")
        started.set_exception(error)

    def _note_scratch(self, container_id: str, scratch: str) -> None:
        if "/" in scratch or scratch in {"", ".", ".."}:
            raise ValueError(scratch)
        container = self._containers.get(container_id)
        if container is not None:
            container._scratch = scratch

    def _fail_fork(self, container_id: str, reason: str) -> None:
        started = self._forking.get(container_id)
        if started is not None and not started.done():
            error = RuntimeFailedError(f"container {container_id}: {reason}")
            started.set_exception(error)

    def _on_exited(self, container_id: str, status: int) -> None:
        container = self._containers.pop(container_id, None)
        if container is None:
            return
        started = self._forking.get(container_id)
        if started is not None and not started.done():
            self._on_hello(container, started)  # its last words may still wait there
        self._fail_fork(container_id, f"it ended while starting (wait status {status})")
        self._end_container(container, status)
        if container._scratch:
            self._launcher.remove(os.path.join(self.state_dir, "scratch", container._scratch))

    def _end_container(self, container: ForkedContainer, status: int) -> None:
        container._forget()
        if not container.exited.done():
            container.exited.set_result(status)

    # -- the end

    def _check_alive(self) -> None:
        if self._closed:
            raise RuntimeFailedError(f"zygote {self.zygote_id} is dead")

    def _lose(self) -> None:
        """The connection is of no further use: so is the zygote."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, fds in self._outgoing:
            for fd in fds:
                os.close(fd)
        self._outgoing.clear()
        self.kill()

    def _on_dead(self, status: int) -> None:
        self._lose()
        text = f"zygote {self.zygote_id} died (wait status {status})"
        if self._prepared is not None and not self._prepared.done():
            self._prepared.set_exception(RuntimeFailedError(text))
        for container_id in list(self._forking):
            self._fail_fork(container_id, text)
        for container in list(self._containers.values()):
            self._end_container(container, signal.SIGKILL)
        self._containers.clear()
        if not self.exited.done():
            self.exited.set_result(status)


class Launcher:
    """The launcher process, as the agent sees it.

    Attributes:
        probe: what the machine can isolate.
        exited: done when the launcher is gone, for whatever reason; so is every zygote then.
    """

    def __init__(self, run_dir: str, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self.run_dir = run_dir
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._hello: asyncio.Future[Probe] = self._loop.create_future()
        self.probe: Probe
        self._socket = sock
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._zygotes: dict[str, Zygote] = {}
        self._spawning: dict[str, asyncio.Future[int]] = {}
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._spawn_count = 0
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
        process = subprocess.Popen(  # noqa: ASYNC220, S603  # as said; our own file
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

    def state_dir(self, zygote_id: str) -> str:
        """Where the files of a zygote lie on the host."""
        return os.path.join(self.run_dir, "z", zygote_id)

    async def spawn_zygote(self, spec: ZygoteSpec, zygote_id: str) -> Zygote:
        """Start a zygote that knows no app yet.

        Raises:
            RuntimeFailedError: with the step that failed.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(log_read, False)
        zygote = Zygote(self, zygote_id, spec, ours, log_read)
        spawned: asyncio.Future[int] = self._loop.create_future()
        self._zygotes[zygote_id] = zygote
        self._spawning[zygote_id] = spawned
        self._request(self._spawn_request(spec, zygote), [theirs.detach(), log_write])
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT_S):
                zygote.pid = await spawned
        except BaseException as error:
            zygote._lose()
            os.close(log_read)
            if isinstance(error, TimeoutError):
                text = f"zygote {zygote_id} was not there within {SPAWN_TIMEOUT_S:g} s"
                raise RuntimeFailedError(text) from None
            raise
        finally:
            self._spawning.pop(zygote_id, None)
        return zygote

    def _spawn_request(self, spec: ZygoteSpec, zygote: Zygote) -> dict[str, Any]:
        self._spawn_count += 1
        is_mapped = os.geteuid() == 0 and spec.rung == "container"
        start = UID_BASE_FIRST + (os.getpid() + self._spawn_count) % UID_RANGES * UID_RANGE
        run_id = os.path.basename(self.run_dir)
        return {
            "op": "spawn", "id": zygote.zygote_id, "rung": spec.rung, "python": spec.python,
            "env": {leftovers.RUN_VARIABLE: run_id, **spec.env}, "trees": list(spec.trees),
            "sdk_dir": spec.sdk_dir, "cloudpickle_dir": spec.cloudpickle_dir,
            "state_dir": zygote.state_dir, "block_network": spec.block_network,
            "uid_base": start if is_mapped else None,
            "cgroup": None if spec.cgroup is None else {"procs_files": spec.cgroup.procs_files},
        }  # fmt: skip

    def remove(self, path: str) -> None:
        """Have a path below a zygote's state directory deleted, some time soon."""
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
        if self._closed:
            for fd in fds:
                os.close(fd)
            return
        self._outgoing.append((json.dumps(message).encode(), list(fds)))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, fds = self._outgoing[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                self._socket.sendmsg([data], rights)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                self._disconnect()
                return
            for fd in fds:
                os.close(fd)
            self._outgoing.popleft()
        self._loop.remove_writer(self._socket)

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
        event, zygote_id = message["event"], message.get("id", "")
        spawned = self._spawning.get(zygote_id)
        if event == "hello":
            self._hello.set_result(Probe.from_fields(message["probe"]))
        elif event == "spawned" and spawned is not None:
            spawned.set_result(message["pid"])
        elif event == "failed":
            self._forget(zygote_id, -1)
            if spawned is not None and not spawned.done():
                spawned.set_exception(RuntimeFailedError(message["reason"]))
        elif event == "exited":
            self._forget(zygote_id, message["status"])

    def _forget(self, zygote_id: str, status: int) -> None:
        zygote = self._zygotes.pop(zygote_id, None)
        if zygote is not None:
            zygote._on_dead(status)
            self.remove(zygote.state_dir)

    def _disconnect(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, fds in self._outgoing:
            for fd in fds:
                os.close(fd)
        self._outgoing.clear()

    def _on_process_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()  # it has ended: this only takes the status
        self._disconnect()
        for zygote_id in list(self._zygotes):
            self._forget(zygote_id, signal.SIGKILL)
        for spawned in self._spawning.values():
            if not spawned.done():
                spawned.set_exception(RuntimeFailedError("the launcher is gone"))
        if not self._hello.done():
            text = f"the launcher ended with status {status} before it was up"
            self._hello.set_exception(RuntimeFailedError(text))
        self.exited.set_result(status)
