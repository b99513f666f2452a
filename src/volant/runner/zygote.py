"""The zygote: one interpreter with an app version imported, forked to start containers.

    agent --PREPARE--> write sources, import the user's module, freeze the heap --READY-->
    agent --FORK--> fork --child: isolate, say "H" on its channel--> runner.loop.serve
                      '--parent: FORKED, later EXITED

Started by the launcher with the image's own Python, already inside its template (or, on the
process rung, in its state directory). Owns the control connection and the children. It has one
thread and waits for two things: the agent and SIGCHLD. It holds no privilege of the host and
runs the user's imports, so nothing here is trusted by the agent.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import select
import sys
from time import perf_counter_ns

from volant.runner import control, isolate, linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Math libraries start threads at import unless told not to; a threaded zygote cannot fork.
SINGLE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Exit status of a child that could not be isolated.
EXIT_NOT_ISOLATED = 70
#: Quiet time before a spare root is made: a container that just started needs the processor more.
SPARE_DELAY_MS = 20

_OUR_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def main() -> NoReturn:
    """Serve the agent on the control descriptor named first on the command line."""
    arguments = sys.argv[1:]
    sys.argv[:] = [""]
    plan = isolate.Plan(arguments[1:])
    isolate.enter_template(plan)
    connection = control.Connection(int(arguments[0]))
    _settle_imports(plan)
    Zygote(plan, connection).run()
    os._exit(0)


def _settle_imports(plan: isolate.Plan) -> None:
    """Import what children need, and leave the user's own packages in front of ours."""
    import volant.runner.loading
    import volant.runner.loop  # noqa: F401  # for the children, which then need not

    sys.path.append(sys.path.pop(0))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text files here
    os.chdir(plan.work_dir)


class Zygote:
    """State of one zygote."""

    def __init__(self, plan: isolate.Plan, connection: control.Connection) -> None:
        self.plan = plan
        self.connection = connection
        self.pid = os.getpid()
        self.containers: dict[int, str] = {}
        self.single_thread_names: list[str] = []
        self.user_sigchld: Any = _signal.SIG_DFL
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.pid_namespace = -1
        self.spare: isolate.Root | None = None
        self.root_count = 0
        self.is_ready = False
        if plan.is_container:
            self.pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the agent closes the connection."""
        self._listen_for_children()
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            wants_spare = self.spare is None and self.is_ready and self.plan.is_container
            events = poll.poll(SPARE_DELAY_MS if wants_spare else None)
            if not events:
                self._make_spare()
            for fd, _ in events:
                if fd == self.wake_read:
                    self._reap()
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        received = self.connection.receive()
        if received is None:
            return False
        kind, fields, fds = received
        if kind == control.PREPARE:
            self._prepare(fields)
        elif kind == control.FORK:
            self._fork(fields, fds)
        else:
            raise control.ControlError(f"unexpected message of kind {kind}")
        return True

    # -- prepare

    def _prepare(self, fields: dict[str, Any]) -> None:
        begun = perf_counter_ns()
        try:
            write_files(self.plan.work_dir, fields["files"])
            self._set_environment(fields["env"])
            if fields["entry"] is not None:
                fields["entry"]["root"] = self.plan.work_dir
                self._import(fields["entry"])
        except BaseException as exc:  # noqa: BLE001  # importing runs user code
            self._leave_if_forked()
            self.connection.send(control.PREPARE_FAILED, {"fault": _fault(exc)})
            return
        self._leave_if_forked()
        self._listen_for_children()
        gc.freeze()
        self.is_ready = True
        took_us = (perf_counter_ns() - begun) // 1000
        answer = {"import_us": took_us, "threads": thread_names()}
        self.connection.send(control.READY, answer)

    def _import(self, entry: dict[str, Any]) -> None:
        from volant.runner import loading

        loading.prepare(entry)

    def _set_environment(self, env: dict[str, str]) -> None:
        os.environ.update(env)
        for name in SINGLE_THREAD:
            if name not in os.environ:
                os.environ[name] = "1"
                self.single_thread_names.append(name)

    def _leave_if_forked(self) -> None:
        if os.getpid() != self.pid:
            os._exit(0)  # a fork made by the user's import came back here: it is no zygote

    # -- fork

    def _fork(self, fields: dict[str, Any], fds: list[int]) -> None:
        name = fields["id"]
        root = None
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # what the import printed must not come out of each child again
            except (OSError, ValueError, AttributeError):
                pass  # the user's import closed or replaced it
        try:
            if self.pid_namespace >= 0:
                # Without the setns a second unshare fails: the namespace that the first one
                # made died with its first process.
                linux.setns(self.pid_namespace, linux.CLONE_NEWPID)
                linux.unshare(linux.CLONE_NEWPID)
                root = self._take_root()
            pid = os.fork()
        except OSError as error:
            self.connection.send(control.FORK_FAILED, {"id": name, "reason": str(error)})
            pid = -1
        if pid == 0:
            self._become_container(fields, fds, root)
        for fd in fds:
            os.close(fd)
        if root is not None:
            root.close()
        if pid > 0:
            self.containers[pid] = name
            scratch = root.name if root is not None else name
            self.connection.send(control.FORKED, {"id": name, "scratch": scratch})

    def _take_root(self) -> isolate.Root:
        root, self.spare = self.spare, None
        if root is None:
            self.root_count += 1
            root = isolate.Root(self.plan, f"s{self.root_count}")
        return root

    def _make_spare(self) -> None:
        """Make what the next container needs while nobody waits for it."""
        try:
            self.spare = self._take_root()
        except OSError:
            self.is_ready = False  # the next fork will say why

    def _become_container(
        self, fields: dict[str, Any], fds: list[int], root: isolate.Root | None
    ) -> NoReturn:
        channel_fd, sdk_fd, stdout_fd, stderr_fd = fds
        try:
            self._shed()
            if root is not None:
                isolate.enter_container(self.plan, root, fields["hostname"], fields["limits"])
            else:
                isolate.enter_process(self.plan, fields["id"], fields["limits"])
            os.dup2(stdout_fd, 1)
            os.dup2(stderr_fd, 2)
            os.close(stdout_fd)
            os.close(stderr_fd)
            _reseed()
            _say(channel_fd, b"H")
        except BaseException as exc:  # noqa: BLE001  # must be told, whatever it is
            _say(channel_fd, b"E" + f"{type(exc).__name__}: {exc}".encode("utf-8", "replace"))
            os._exit(EXIT_NOT_ISOLATED)
        from volant.runner import loop

        loop.serve(channel_fd, sdk_fd, fields["id"])

    def _shed(self) -> None:
        """Let go of what belongs to the zygote."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, self.user_sigchld)
        self.connection.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        if self.pid_namespace >= 0:
            os.close(self.pid_namespace)
        for name in self.single_thread_names:
            os.environ.pop(name, None)  # only the zygote has to be single threaded

    # -- children

    def _listen_for_children(self) -> None:
        """(Again, after the user's import:) be woken by SIGCHLD."""
        previous = _signal.signal(_signal.SIGCHLD, _on_sigchld)
        if previous is not _on_sigchld and previous is not None:
            self.user_sigchld = previous
        _signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)

    def _reap(self) -> None:
        try:
            os.read(self.wake_read, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.containers.pop(pid, None)
            if name is not None:
                self.connection.send(control.EXITED, {"id": name, "status": status})
            if not self.plan.is_container:
                self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill what dead containers left: their descendants are now children of ours."""
        for pid in _children():
            if pid not in self.containers:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass


def write_files(root: str, files: list[tuple[str, int, bytes]]) -> None:
    """Write sources below `root`.

    Args:
        root: an existing directory.
        files: (path relative to root, mode, content) each.

    Raises:
        ValueError: for a path that leads out of `root`.
    """
    made = {root}
    for relative, mode, content in files:
        if relative.startswith("/") or ".." in relative.split("/"):
            raise ValueError(f"source path {relative!r} leads out of the sources")
        path = os.path.join(root, relative)
        directory = os.path.dirname(path)
        if directory not in made:
            os.makedirs(directory, exist_ok=True)
            made.add(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode & 0o777)
        with os.fdopen(fd, "wb", buffering=0) as target:
            view = memoryview(content)
            while view:
                view = view[target.write(view) :]


def thread_names() -> list[str]:
    """The names of all threads but the main one (empty is what a zygote should be)."""
    extra = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
    if not extra:
        return []
    threading = sys.modules.get("threading")
    known = {}
    if threading is not None:
        known = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    names = []
    for task in extra:
        try:
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(known.get(task) or comm.read().strip())
        except OSError:
            continue  # it ended while we looked
    return names


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children") as source:
            return [int(word) for word in source.read().split()]
    except OSError:
        return []  # the kernel was built without this file


def _reseed() -> None:
    """Give the child randomness of its own (`random` does it by itself at fork, if imported)."""
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _say(channel_fd: int, text: bytes) -> None:
    channel = _socket.socket(fileno=channel_fd)
    try:
        channel.sendall(text)  # the kernel adds our pid, as the agent's end asks for it
    except OSError:
        pass  # the agent is gone, and with it the reason to exist
    finally:
        channel.detach()


def _fault(exc: BaseException) -> bytes:
    from volant.wire.faults import encode_fault

    return encode_fault(exc, skip_under=_OUR_FILES)


def _on_sigchld(_signum: int, _frame: object) -> None:
    """Only there so that the wakeup descriptor is written."""
