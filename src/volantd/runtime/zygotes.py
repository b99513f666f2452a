"""Zygotes and containers as the agent sees them: asyncio objects over raw sockets.

    [Zygote.preload(...) ->] Zygote.prepare(...) -> imports done
    Zygote.fork(...) -> ForkedContainer   Zygote.run(...)

Owns the agent's ends of a zygote's control connection, and of a container's sockets and pipes
until `fork` hands them over. It uses `add_reader` and `add_writer` only, so any event loop will
do, and nothing in it blocks. Both rungs look the same from here. What zygotes and containers
send is hostile: malformed input ends that zygote, never the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from volant.runner import control
from volant.runner.view import places
from volantd.runtime.command import Command
from volantd.runtime.containers.forked import SHARED_ADDRESS, Ends, ForkedContainer
from volantd.runtime.imports import (
    ANSWERS,
    PrepareFailedError,
    UnfitError,
    answer_of,
    checked,
)
from volantd.runtime.messages.outgoing import Outgoing
from volantd.runtime.seat import Seat
from volantd.runtime.wait_status import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.client import Launcher
    from volantd.runtime.command import Admit, CommandSpec
    from volantd.runtime.imports import Prelude
    from volantd.runtime.sandboxes.sidecars import Beside
    from volantd.runtime.seat import Leaves, Place

#: Largest read from a zygote at once.
READ_BYTES = 1 << 16
#: Bytes of a child's complaint that are kept.
COMPLAINT_BYTES_MAX = 4096
#: Of an id that is a name of a machine too.
HOSTNAME_CHARS = 15
#: Fork to "isolated"; a machine that is far too busy is given this long.
FORK_TIMEOUT_S = 30.0


class RuntimeFailedError(Exception):
    """The launcher, a zygote or a container could not be started, or died on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteSpec:
    """What a zygote is made of; nothing in it belongs to one app.

    Attributes:
        rung: "container" or "process".
        python: the interpreter, by a path that lies in one of `trees`.
        trees: directories shown to containers, read-only as far as the host is concerned.
        layers: instead of them, the directories that a built image consists of, lowest first.
        is_over_machine: the layers, those shown later too, lie over the trees, which their
            containers see as well.
        workdir: where containers of a built image work; None where their sources lie.
        entrypoint: of a built image: a program, and arguments, that executes the rest of them.
        sdk_dir: the directory that contains the package `volant`.
        cloudpickle_dir, lent_dir: the package of cloudpickle; what web functions are lent.
        env: the whole environment of the interpreter.
        block_network: no network but its own loopback.
        is_for_sandboxes: `python` lies in `trees` and runs there; its containers see `layers` if
            there are any, else the trees, and nothing of ours.
        is_blank: it is for sandboxes and their image comes later, by `Zygote.show`.
        runsc: the program of gVisor that these run on; None for none.
        cgroup, leaves: where the zygote goes, and its containers with the zygote ahead; or None.
    """

    rung: str
    python: str
    sdk_dir: str
    cloudpickle_dir: str
    lent_dir: str
    trees: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    is_over_machine: bool = False
    workdir: str | None = None
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    block_network: bool = False
    is_for_sandboxes: bool = False
    is_blank: bool = False
    runsc: str | None = None
    cgroup: Cgroup | None = None
    leaves: Leaves | None = None


def _explained(container_id: str, error: OSError) -> RuntimeFailedError:
    if isinstance(error, TimeoutError):
        text = f"container {container_id} was not ready within {FORK_TIMEOUT_S:g} s"
        return RuntimeFailedError(text)
    return RuntimeFailedError(f"container {container_id}: {error}")


class Zygote:
    """One zygote. Made by `Launcher.spawn_zygote`.

    Attributes:
        pid: on the host.
        log_fd: read end of what the zygote itself prints (import output); the caller's to close.
        exited: its wait status, once it has exited. All its containers are dead then.
        source_root: where its sources lie, as its containers see it.
        cwd: where its containers work.
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
        self.cwd = spec.workdir or self.source_root
        self._launcher = launcher
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._parser = control.Parser()
        self._outgoing = Outgoing(self._socket, self._loop, self._lose)
        self._prepared: asyncio.Future[dict[str, Any]] | None = None
        self._forking: dict[str, asyncio.Future[int]] = {}
        #: Those that the zygote has not spoken of, though they are there.
        self._born: dict[str, asyncio.Future[None]] = {}
        self._containers: dict[str, ForkedContainer] = {}
        self._commands: dict[str, Command] = {}
        self._closed = False
        self._seat: Seat | None = None
        self._loop.add_reader(sock, self._on_readable)

    def _sit(self, pid: int) -> None:
        """Note that its process is there."""
        self.pid = pid
        if self.spec.leaves is not None:
            self._seat = Seat(pid, self.spec.cgroup, self.spec.leaves)

    # -- verbs

    async def preload(self, prelude: Prelude, *, timeout_s: float) -> list[str]:
        """Import what a program is expected to begin with; what that prints is held back.

        Returns:
            what makes the zygote useless now, in words; empty is good.

        Raises:
            RuntimeFailedError: the zygote died or `timeout_s` passed (it is killed then).
        """
        names = {"modules": list(prelude.modules), "late": list(prelude.late)}
        fields = {**names, "web": list(prelude.web), "env": prelude.env}
        answer = await self._import(control.pack(control.PRELOAD, fields), timeout_s)
        culprits: list[str] = answer["culprits"]
        return culprits

    async def prepare(
        self,
        files: Sequence[tuple[str, int, bytes]],
        entry: dict[str, Any] | None,
        env: dict[str, str],
        *,
        timeout_s: float,
        snapshot: dict[str, Any] | None = None,
        late: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write sources, set the environment, import the user's module, and then `late`.

        Returns:
            `import_us`, `threads` (that the import left; none is good), `asks` (whether it
            wanted to speak to the hub, which only containers can), `culprits` (what the hooks
            of `snapshot`, a class and its parameters, left that forbids forking, in words),
            `late` (names of those that were imported, now or by `preload`), `refused` (empty, or
            the name of one that made this zygote useless, and why),
            `prelude` (names of modules that are worth to be imported ahead of the next version,
            or None) and `is_whole` (the program does nothing that would have ended it).

        Raises:
            PrepareFailedError: the import raised.
            RuntimeFailedError: the zygote died or `timeout_s` passed (it is killed then).
            UnfitError: it was preloaded with what does not fit; the program was not imported.
        """
        fields = {"files": [list(file) for file in files], "entry": entry, "env": env}
        data = control.pack(control.PREPARE, {**fields, "snapshot": snapshot, "late": list(late)})
        return await self._import(data, timeout_s)

    async def show(self, layers: tuple[str, ...], workdir: str | None) -> None:
        """Give a blank zygote its image.

        Args:
            layers: as in `ZygoteSpec`, at most `isolate.LAYERS_AHEAD`.
            workdir: likewise.

        Raises:
            RuntimeFailedError: when that cannot be.
        """
        self._check_alive()
        self._launcher.layers[self.zygote_id] = layers
        mounts: list[dict[str, Any]] = [
            {"target": f"{places.LAYERS_DIR}/{index}", "layers": [layer], "writable": "",
             "again": False, "is_there": True}
            for index, layer in enumerate(layers)
        ]  # fmt: skip
        await self._launcher.mount(self, mounts)
        self._check_alive()
        self.spec = replace(self.spec, layers=layers, workdir=workdir, is_blank=False)
        self.cwd = workdir or self.source_root
        self._outgoing.send(control.pack(control.SHOW, {"layers": len(layers), "cwd": workdir}), [])

    async def _import(self, request: bytes, timeout_s: float) -> dict[str, Any]:
        assert self._prepared is None, "one prepare at a time"
        self._check_alive()
        self._prepared = self._loop.create_future()
        self._outgoing.send(request, [])
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
        self, container_id: str, *, hostname: str = "", limits: dict[str, int] | None = None,
        beside: Beside | None = None,
    ) -> ForkedContainer:  # fmt: skip
        """Start a container; returns when it is isolated. It has been in its cgroup from birth.

        Args:
            container_id: a file name; unique within this zygote.
            hostname: at most 64 bytes; "" for what its id begins with.
            limits: any of `files`, `file_size_bytes`, `memory_bytes` (address space),
                `processes`.
            beside: a container whose network it shares; None for one by itself.

        Raises:
            RuntimeFailedError: with what the child said.
        """
        self._check_alive()
        assert container_id not in self._containers, f"{container_id} is already there"
        hostname = hostname or container_id[:HOSTNAME_CHARS]
        fields: dict[str, Any] = {"id": container_id, "hostname": hostname, "limits": limits or {}}
        seat = self._seat
        try:
            if seat is None:
                return await self._fork_in(None, fields, beside)
            place = await seat.take()
            try:
                fields["more"] = seat.waiting_count
                return await self._fork_in(place, fields, beside)
            except BaseException:
                place.remove()
                raise
            finally:
                seat.leave(place)
        except OSError as error:  # TimeoutError is one too
            raise _explained(container_id, error) from error

    async def _fork_in(
        self, place: Place | None, fields: dict[str, Any], beside: Beside | None
    ) -> ForkedContainer:
        """Fork while the zygote sits in a place; it leaves that at FORKED."""
        self._check_alive()
        container_id, own = fields["id"], ""
        addresses = self._launcher.addresses
        if beside is not None and beside.container.exited.done():
            raise ProcessLookupError("its sandbox has ended")
        if self._launcher.gives_addresses(self.spec):
            own = addresses.share(beside.container.address) if beside else addresses.take()
        ends = Ends()
        container = ForkedContainer(container_id, ends, self._loop.create_future(), place)
        container.address = own or ("" if self.spec.block_network else SHARED_ADDRESS)
        fields = {**fields, "address": own, "beside": beside and beside.as_fields()}
        self._containers[container_id] = container
        started: asyncio.Future[int] = self._loop.create_future()
        self._forking[container_id] = started
        self._outgoing.send(control.pack(control.FORK, fields, control.FORK_FDS), ends.child_fds)
        self._loop.add_reader(ends.channel, self._on_hello, container, started)
        try:
            async with asyncio.timeout(FORK_TIMEOUT_S):
                container.identify(await started)
                if not container.scratch_path:  # its own word was faster than the zygote's of it
                    born = self._born[container_id] = self._loop.create_future()
                    known = (born, container.exited)
                    await asyncio.wait(known, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._loop.remove_reader(ends.channel)
            container.kill()
            ends.close_ours()
            raise
        finally:
            self._forking.pop(container_id, None)
            self._born.pop(container_id, None)
        return container

    async def run(
        self, container: ForkedContainer, command_id: str, spec: CommandSpec, admit: Admit
    ) -> Command:
        """Run a command in a container; returns, or raises, as `Command.start` does."""
        self._check_alive()
        command = Command(command_id, spec, opens_terminal=self.spec.rung == "container")
        self._commands[command_id] = command
        self._outgoing.send(command.request(container.container_id), command.their_fds)
        container.exited.add_done_callback(lambda _: command.kill())
        await command.start(admit)
        return command

    def kill(self) -> None:
        """Kill the zygote and with it all its containers; `exited` tells when that is done."""
        self._launcher._request({"op": "kill", "id": self.zygote_id})

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
        if kind in ANSWERS:
            if self._prepared is not None and not self._prepared.done():
                self._on_prepared(self._prepared, kind, fields)
        elif kind == control.FORKED:
            self._on_forked(fields["id"], fields["scratch"])
        elif kind == control.FORK_FAILED:
            self._fail_fork(fields["id"], str(fields["reason"])[:COMPLAINT_BYTES_MAX])
            container = self._containers.pop(fields["id"], None)
            if container is not None:
                self._end_container(container, signal.SIGKILL)
        elif kind == control.COMMAND_FAILED:
            self._commands.pop(fields["id"]).fail(str(fields["reason"])[:COMPLAINT_BYTES_MAX])
        elif kind == control.EXITED:
            self._on_exited(fields["id"], checked(fields["status"], int) & 0xFFFF)

    def _on_prepared(
        self, prepared: asyncio.Future[dict[str, Any]], kind: int, fields: dict[str, Any]
    ) -> None:
        try:
            answer = answer_of(kind, fields)
        except (PrepareFailedError, UnfitError) as error:
            prepared.set_exception(error)
            return
        prepared.set_result(answer)
        if self._seat is not None and kind == control.READY:
            self._seat.go_ahead()  # not before: what the import takes is no container's

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

    def _on_forked(self, container_id: str, scratch: str) -> None:
        """It is born, in the leaf where the zygote sits: that can go on to the next."""
        if "/" in checked(scratch, str) or scratch in {"", ".", ".."}:
            raise ValueError(scratch)
        container = self._containers.get(container_id)
        if container is not None:
            container.scratch_path = os.path.join(self.state_dir, "scratch", scratch)
            if (born := self._born.pop(container_id, None)) is not None:
                born.set_result(None)
            if self._seat is not None and container.place is not None:
                self._seat.leave(container.place)

    def _fail_fork(self, container_id: str, reason: str) -> None:
        started = self._forking.get(container_id)
        if started is not None and not started.done():
            error = RuntimeFailedError(f"container {container_id}: {reason}")
            started.set_exception(error)

    def _on_exited(self, container_id: str, status: int) -> None:
        container = self._containers.pop(container_id, None)
        if container is None:  # a command has ended, or nothing that we know
            self._commands.pop(container_id, None)
            return
        started = self._forking.get(container_id)
        if started is not None and not started.done():
            self._on_hello(container, started)  # its last words may still wait there
        self._fail_fork(container_id, f"it ended while starting (wait status {status})")
        self._end_container(container, status)
        if container.scratch_path:
            self._launcher.remove(container.scratch_path)

    def _end_container(self, container: ForkedContainer, status: int) -> None:
        container.forget()
        if container.address not in ("", SHARED_ADDRESS):
            self._launcher.addresses.give_back(container.address)
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
        self._outgoing.drop()
        self._socket.close()
        self.kill()

    def _on_dead(self, status: int) -> None:
        self._lose()
        if self._seat is not None:
            self._seat.end()
        text = f"zygote {self.zygote_id} {in_words(status)}"
        if self._prepared is not None and not self._prepared.done():
            error = RuntimeFailedError(f"while it imported the program, it {in_words(status)}")
            self._prepared.set_exception(error)
        for container_id in list(self._forking):
            self._fail_fork(container_id, text)
        for container in list(self._containers.values()):
            self._end_container(container, signal.SIGKILL)
        self._containers.clear()
        if not self.exited.done():
            self.exited.set_result(status)
