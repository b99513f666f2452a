"""The launcher: starts zygotes with the rights of the daemon's user, and cleans up after them.

    agent <--one unix seqpacket socket, JSON objects, descriptors--> launcher --fork--> zygotes

A process of its own because it forks and mounts, which neither an event loop nor threads
survive. Owns every zygote process and the run directory. It is a child subreaper and reaps at
once. When the agent is gone (end of file on the socket) it kills all zygotes, removes the
cgroups and the run directory, and exits: nothing outlives the daemon. It never reads what user
code wrote, and never waits for anything but its one poll.

Started by path with `-I -S` (see `client`), so it finds its packages by itself.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import _signal
import _socket
import contextlib
import json
import select
from array import array

from volant.runner import linux
from volantd import removal
from volantd.runtime import cgroup, probe, template, tree
from volantd.runtime.buckets import serving
from volantd.runtime.building import view
from volantd.runtime.copies import entering
from volantd.runtime.devices import granting
from volantd.runtime.outlets import wiring
from volantd.runtime.ports import relay
from volantd.runtime.volumes import mounting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MESSAGE_BYTES_MAX = 1 << 20
#: A request carries at most this many descriptors (a pidfd and three pipes; listener, pidfd, and
#: where a relay tells of its connections).
REQUEST_FDS_MAX = 4
#: How long a report of a starting zygote may get.
REPORT_BYTES_MAX = 8192
#: Time that killed processes get to be gone when all is over, in rounds of 50 ms.
LAST_WAIT_ROUNDS = 100


class Starting:
    """A zygote between fork and exec: its report is still open."""

    def __init__(self, zygote_id: str, helper_pid: int, report_fd: int) -> None:
        self.zygote_id = zygote_id
        self.helper_pid = helper_pid
        self.report_fd = report_fd
        self.report = b""


class Launcher:
    """State of the launcher process."""

    def __init__(self, sock: _socket.socket, lock_fd: int, run_dir: str, run_id: str) -> None:
        self.socket = sock
        self.lock_fd = lock_fd
        self.run_dir = run_dir
        self.run_id = run_id
        self.base_dir = os.path.join(run_dir, "base")
        self.trash_dir = os.path.join(run_dir, "trash")
        self.starting: dict[int, Starting] = {}
        #: containers that are being granted devices, in which volumes are mounted, or whose network
        #: is given a way out, those that are copied, and relays and servers of buckets that are
        #: about to work, by the descriptors of their reports; and those that work, by their pids
        self.granting: dict[int, str] = {}
        self.mounting: dict[int, str] = {}
        self.wiring: dict[int, str] = {}
        self.copying: dict[int, str] = {}
        #: what CRIU keeps between its runs; -1 before the first
        self.shelf_fd = -1
        self.relaying: dict[int, str] = {}
        self.relays: dict[int, str] = {}
        self.zygotes: dict[int, str] = {}
        self.helpers: set[int] = set()
        self.removing: dict[int, list[str]] = {}
        self.to_remove: list[str] = []
        self.early_exits: dict[int, int] = {}
        self.stopping = False
        self.poll = select.poll()

    def run(self) -> None:
        """Serve until the agent is gone, then leave nothing behind."""
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (_signal.SIGCHLD, _signal.SIGTERM):
            _signal.signal(number, self._on_signal)
        for number in (_signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_IGN)
        _signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        os.makedirs(self.trash_dir, 0o700, exist_ok=True)
        self._send({"event": "hello", "probe": probe.probe(self.run_dir).as_fields()})
        tree.build_base(self.base_dir)
        self.poll.register(self.socket.fileno(), select.POLLIN)
        self.poll.register(wake_read, select.POLLIN)
        try:
            while not self.stopping:
                for fd, _ in self.poll.poll():
                    if fd == wake_read:
                        linux.drain(wake_read)
                    elif fd == self.socket.fileno():
                        self._receive()
                    elif fd in self.granting:
                        self._read_grant(fd, "granted", self.granting)
                    elif fd in self.mounting:
                        self._read_grant(fd, "mounted", self.mounting)
                    elif fd in self.wiring:
                        self._read_grant(fd, "wired", self.wiring)
                    elif fd in self.copying:
                        self._read_grant(fd, "copied", self.copying)
                    elif fd in self.relaying:
                        self._read_grant(fd, "relayed", self.relaying)
                    else:
                        self._read_report(self.starting[fd])
                self._reap()
        finally:
            self._end_everything(wake_read)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == _signal.SIGTERM:
            self.stopping = True

    # -- messages

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.socket.send(json.dumps(message).encode())
        except OSError:
            self.stopping = True  # the agent is gone

    def _receive(self) -> None:
        space = _socket.CMSG_SPACE(REQUEST_FDS_MAX * 4)
        try:
            data, ancillary, _, _ = self.socket.recvmsg(
                MESSAGE_BYTES_MAX, space, _socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            data, ancillary = b"", []
        fds = array("i")
        for level, kind, raw in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fds.frombytes(raw[: len(raw) - len(raw) % 4])
        if not data:
            self.stopping = True
            return
        request = json.loads(data)
        if request["op"] == "spawn":
            self._spawn(request, list(fds))
        elif request["op"] == "grant":
            self._grant(request, fds[0])
        elif request["op"] == "mount":
            self._mount(request, list(fds))
        elif request["op"] == "wire":
            self._wire(request, list(fds))
        elif request["op"] == "copy":
            self._copy(request, list(fds))
        elif request["op"] == "relay":
            self._relay(request, list(fds))
        elif request["op"] == "serve":
            self._serve(request, list(fds))
        elif request["op"] == "unrelay":
            self._end_relay(request["id"])
        elif request["op"] == "kill":
            self._kill(request["id"])
        elif request["op"] == "remove":
            self.to_remove.append(request["path"])
            self._remove_next()
        for fd in fds:
            os.close(fd)

    # -- zygotes

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> None:
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        try:
            os.makedirs(request["state_dir"], 0o755)
            tree.refresh_base(self.base_dir)
            pid = os.fork()
        except OSError as error:
            os.close(report_read)
            os.close(report_write)
            self._send({"event": "failed", "id": request["id"], "reason": str(error)})
            return
        if pid == 0:
            _become_ordinary()
            start = view.start if request["rung"] == "build" else template.start
            start(request, self.base_dir, report_write, fds)
        os.close(report_write)
        os.set_blocking(report_read, False)
        self.helpers.add(pid)
        self.starting[report_read] = Starting(request["id"], pid, report_read)
        self.poll.register(report_read, select.POLLIN)

    def _read_report(self, starting: Starting) -> None:
        data = os.read(starting.report_fd, REPORT_BYTES_MAX)
        starting.report += data
        if data and len(starting.report) <= REPORT_BYTES_MAX:
            return
        self.poll.unregister(starting.report_fd)
        del self.starting[starting.report_fd]
        os.close(starting.report_fd)
        pid, reason = 0, ""
        for line in starting.report.decode("utf-8", "replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "pid":
                pid = int(rest)
            else:
                reason = rest
        if pid == starting.helper_pid:
            self.helpers.discard(pid)
        if pid and not reason:
            self.zygotes[pid] = starting.zygote_id
            self._send({"event": "spawned", "id": starting.zygote_id, "pid": pid})
        else:
            reason = reason or "the process that builds its view was killed"
            self._send({"event": "failed", "id": starting.zygote_id, "reason": reason})
        if pid in self.early_exits:
            self._on_exit(pid, self.early_exits.pop(pid))

    # -- devices

    def _grant(self, request: dict[str, Any], container_fd: int) -> None:
        def grant(report_fd: int) -> NoReturn:
            granting.start(request, self.trash_dir, report_fd, container_fd)

        pid = self._fork_reporting(request["id"], "granted", self.granting, grant)
        if pid is not None:
            self.helpers.add(pid)

    def _mount(self, request: dict[str, Any], fds: list[int]) -> None:
        servers = {name: pid for pid, name in self.relays.items()}

        def mount(report_fd: int) -> NoReturn:
            mounting.start(request, self.trash_dir, report_fd, fds, servers)

        pid = self._fork_reporting(request["id"], "mounted", self.mounting, mount)
        if pid is not None:
            self.helpers.add(pid)

    def _wire(self, request: dict[str, Any], fds: list[int]) -> None:
        def wire(report_fd: int) -> NoReturn:
            wiring.start(request, report_fd, fds)

        pid = self._fork_reporting(request["id"], "wired", self.wiring, wire)
        if pid is not None:
            self.helpers.add(pid)

    def _copy(self, request: dict[str, Any], fds: list[int]) -> None:
        if self.shelf_fd < 0:
            self.shelf_fd = linux.detached_tmpfs()
        shelf_fd = self.shelf_fd

        def copy(report_fd: int) -> NoReturn:
            entering.start(request, report_fd, fds, shelf_fd)

        pid = self._fork_reporting(request["id"], "copied", self.copying, copy)
        if pid is not None:
            self.helpers.add(pid)

    def _relay(self, request: dict[str, Any], fds: list[int]) -> None:
        def lead(report_fd: int) -> NoReturn:
            relay.start(request, report_fd, fds)

        pid = self._fork_reporting(request["id"], "relayed", self.relaying, lead)
        if pid is not None:
            self.relays[pid] = request["id"]

    def _serve(self, request: dict[str, Any], fds: list[int]) -> None:
        def serve(report_fd: int) -> NoReturn:
            serving.start(request, self.trash_dir, report_fd, fds)

        pid = self._fork_reporting(request["id"], "relayed", self.relaying, serve)
        if pid is not None:
            self.relays[pid] = request["id"]

    def _fork_reporting(
        self, of: str, event: str, waiting: dict[int, str], work: Callable[[int], NoReturn]
    ) -> int | None:
        """Fork a helper that says in one line how it went; its pid, None if there can be none."""
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError as error:
            os.close(report_read)
            os.close(report_write)
            self._send({"event": event, "id": of, "reason": str(error)})
            return None
        if pid == 0:
            _become_ordinary()
            work(report_write)
        os.close(report_write)
        waiting[report_read] = of
        self.poll.register(report_read, select.POLLIN)
        return pid

    def _read_grant(self, fd: int, event: str, waiting: dict[int, str]) -> None:
        """A helper is done, or says why it cannot: that is one line, written at once."""
        text = os.read(fd, REPORT_BYTES_MAX).decode("utf-8", "replace")
        self.poll.unregister(fd)
        os.close(fd)
        reason = text.strip().partition(" ")[2]
        self._send({"event": event, "id": waiting.pop(fd), "reason": reason})

    def _kill(self, zygote_id: str) -> None:
        for pid, known in self.zygotes.items():
            if known == zygote_id:
                os.kill(pid, _signal.SIGKILL)

    def _end_relay(self, relay_id: str) -> None:
        for pid, known in self.relays.items():
            if known == relay_id:
                os.kill(pid, _signal.SIGTERM)

    def _reap(self) -> None:
        for pid, status in linux.ended_children():
            self._on_exit(pid, status)
        if not self.starting:
            self.early_exits.clear()
            self._end_orphans()

    def _on_exit(self, pid: int, status: int) -> None:
        if pid in self.removing:
            for path in self.removing.pop(pid):
                self._send({"event": "removed", "path": path})
            self._remove_next()
        elif pid in self.zygotes:
            self._send({"event": "exited", "id": self.zygotes.pop(pid), "status": status})
        elif pid in self.relays:
            self._send({"event": "unrelayed", "id": self.relays.pop(pid), "status": status})
        else:
            self.helpers.discard(pid)
            self.early_exits[pid] = status

    def _end_orphans(self) -> None:
        """Kill what a zygote of the process rung left behind: it is now a child of ours."""
        known = {*self.zygotes, *self.relays, *self.helpers, *self.removing}
        for pid in linux.children():
            if pid not in known:
                os.kill(pid, _signal.SIGKILL)

    # -- removal

    def _remove_next(self) -> None:
        if self.removing or not self.to_remove:
            return
        paths, self.to_remove = self.to_remove, []
        pid = os.fork()
        if pid == 0:
            _become_ordinary()
            self.socket.close()
            os.nice(10)
            self._remove(paths)
            os._exit(0)
        self.removing[pid] = paths

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            inside = os.path.normpath(path)
            if not inside.startswith(os.path.join(self.run_dir, "z", "")):
                continue  # not ours
            try:
                removal.remove_tree(inside, self.trash_dir)
            except OSError as error:
                sys.stderr.write(f"cannot remove {inside}: {error}\n")

    # -- the end

    def _end_everything(self, wake_read: int) -> None:
        for _ in range(LAST_WAIT_ROUNDS):
            for pid in {*self.zygotes, *self.relays, *self.helpers, *linux.children()} - set(
                self.removing
            ):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, _signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break  # no child is left
            select.select([wake_read], [], [], 0.05)
            linux.drain(wake_read)
        cgroup.remove_run(self.run_id)
        try:
            removal.remove_run_dir(self.run_dir)
            os.unlink(f"{self.run_dir}.lock")
        except OSError as error:
            sys.stderr.write(f"cannot remove {self.run_dir}: {error}\n")


def _become_ordinary() -> None:
    """In a fork: signals do again what they do in any process."""
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)


def main(arguments: list[str]) -> None:
    """Run with: descriptor of the socket, descriptor of the held lock, run directory, run id."""
    os.setsid()
    os.umask(0o022)
    sock = _socket.socket(fileno=int(arguments[0]))
    sock.setblocking(True)
    for fd in (sock.fileno(), int(arguments[1])):
        os.set_inheritable(fd, False)
    Launcher(sock, int(arguments[1]), arguments[2], arguments[3]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
