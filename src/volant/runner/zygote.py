"""The zygote: one interpreter with an app version imported, forked to start containers.

    agent --PRELOAD--> import what an earlier version of the program began with --PRELOADED-->
    agent --PREPARE--> write sources, import the user's module, freeze the heap --READY-->
    agent --FORK--> fork --child: enter a cell, say "H" on its channel--> runner.loop.serve
                      '--parent: FORKED, later EXITED
    agent --COMMAND--> fork --child: the cell of a container that lives--> runner.command.serve

Started by the launcher with the image's own Python, already inside its template (or, on the
process rung, in its state directory). Owns the control connection and the children. It has one
thread and waits for three things: the agent, SIGCHLD and its nursery, which makes the cells.
It holds no privilege of the host and runs the user's imports, so the agent trusts nothing here.
"""

from __future__ import annotations

import _signal
import gc
import os
import select
import sys
from time import perf_counter_ns

from volant.runner import control, isolate, linux, nursery
from volant.runner.libraries import guises
from volant.runner.nursery import Cell, Container
from volant.runner.sandboxes import beginning
from volant.runner.template import making, preloading, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Math libraries start threads at import unless told not to; a threaded zygote cannot fork.
SINGLE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Exit status of a child that could not be isolated.
EXIT_NOT_ISOLATED = 70
#: Quiet time before a spare cell is made: a container that just started needs the processor more.
SPARE_DELAY_MS = 20
#: Cells that are made at the same time.
CELLS_AT_ONCE = 4

_OUR_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def main() -> NoReturn:
    """Serve the agent on the control descriptor named first on the command line."""
    arguments = sys.argv[1:]
    sys.argv[:] = [""]
    plan = isolate.Plan(arguments[1:])
    control_fd = int(arguments[0])
    cells = nursery.Nursery(plan, (control_fd,)) if plan.is_container else None
    isolate.enter_template(plan)
    _settle_imports(plan)
    Zygote(plan, control.Connection(control_fd), cells).run()
    os._exit(0)


def _settle_imports(plan: isolate.Plan) -> None:
    """Import what children need, and leave the user's own packages in front of ours."""
    import volant.runner.libraries.late  # for the children, which then need not: this,
    import volant.runner.libraries.threads
    import volant.runner.loading
    import volant.runner.loop  # noqa: F401  # and this

    if plan.is_for_sandboxes:
        beginning.settle_imports(plan)
    guises.arrange()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text files here
    os.chdir(plan.work_dir)


class Zygote:
    """State of one zygote."""

    def __init__(
        self,
        plan: isolate.Plan,
        connection: control.Connection,
        cells: nursery.Nursery | None,
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.nursery = cells
        self.pid = os.getpid()
        self.containers: dict[int, Container] = {}
        #: forks that wait for a cell, cells that wait for a fork, cells in use: by their names
        self.waiting: list[tuple[dict[str, Any], list[int]]] = []
        self.ready_cells: list[Cell] = []
        self.cells: dict[str, Cell] = {}
        #: forks for which a cell is made beside another one, by its name
        self.beside: dict[str, tuple[dict[str, Any], list[int]]] = {}
        self.ordered_count = 0
        # Their names say where file systems put them: nowhere twice, see `removal.spread`.
        self.cell_count = int.from_bytes(os.urandom(3), "big")
        self.imported_pids: set[int] = set()
        self.preloading = preloading.Preloading()
        self.single_thread_names: list[str] = []
        self.user_sigchld: Any = _signal.SIG_DFL
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.pid_namespace = -1
        self.wants_spare = False
        #: forks that the agent holds back until this one is done
        self.more_count = 0
        if plan.is_container:
            self.pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the agent closes the connection."""
        self._listen_for_children()
        poll = select.poll()
        for fd in (self.connection.fileno(), self.wake_read):
            poll.register(fd, select.POLLIN)
        if self.nursery is not None:
            poll.register(self.nursery.fileno(), select.POLLIN)
        while True:
            events = poll.poll(SPARE_DELAY_MS if self.wants_spare else None)
            if not events:
                self.wants_spare = False
                if not self.ready_cells and not self.ordered_count:
                    self._order_cell()
            for fd, _ in events:
                if fd == self.wake_read:
                    self._reap()
                elif fd == self.connection.fileno():
                    if not self._receive():
                        return
                else:
                    self._hear_nursery()

    def _receive(self) -> bool:
        received = self.connection.receive()
        if received is None:
            return False
        kind, fields, fds = received
        if kind == control.PRELOAD:
            self._preload(fields)
        elif kind == control.PREPARE:
            self._prepare(fields)
        elif kind == control.FORK:
            self.more_count = fields.get("more", 0)
            if fields.get("beside") is not None:
                self._order_beside(fields, fds)
            else:
                self.waiting.append((fields, fds))
            self._serve_waiting()
        elif kind == control.COMMAND:
            self._run_command(fields, fds)
        elif kind == control.SHOW and self.nursery is not None:
            self.plan.show(fields["layers"], fields["cwd"])
            self.nursery.show(fields["layers"])
            self._order_cell()
        else:
            raise control.ControlError(f"unexpected message of kind {kind}")
        return True

    # -- prepare

    def _preload(self, fields: dict[str, Any]) -> None:
        self._set_environment(fields["env"])
        culprits = self.preloading.load(fields["modules"], fields["web"], fields["late"])
        self._settle_import()
        self.connection.send(control.PRELOADED, {"culprits": culprits})

    def _prepare(self, fields: dict[str, Any]) -> None:
        begun = perf_counter_ns()
        entry = fields["entry"]
        try:
            sources.write_files(self.plan.work_dir, fields["files"])
            if entry is not None:
                entry.update(root=self.plan.work_dir, cwd=self.plan.cwd)
            program = preloading.program_of(entry, fields["files"])
            if not self.preloading.fits(program):
                self.connection.send(control.UNFIT, {})
                return
            if not self.ready_cells and not self.ordered_count and not self.plan.is_blank:
                self._order_cell()  # made while we import
            self._set_environment(fields["env"])
            self.preloading.begin()
            made = making.make(entry, fields, program)
        except BaseException as exc:  # noqa: BLE001  # importing runs user code
            self._leave_if_forked()
            self.connection.send(control.PREPARE_FAILED, {"fault": _fault(exc)})
            return
        self._settle_import()
        gc.freeze()
        took_us = (perf_counter_ns() - begun) // 1000
        made["late"] = made["late"] or self.preloading.late
        answer = {"import_us": took_us, **made, **self.preloading.learn(program, took_us)}
        self.connection.send(control.READY, answer)

    def _settle_import(self) -> None:
        """Go on after code of others: its children are not ours to reap."""
        self._leave_if_forked()
        self._listen_for_children()
        self.imported_pids = set(linux.children())

    def _set_environment(self, env: dict[str, str]) -> None:
        os.environ.update(env)
        for name in SINGLE_THREAD:
            if name not in os.environ:
                os.environ[name] = "1"
                self.single_thread_names.append(name)

    def _leave_if_forked(self) -> None:
        if os.getpid() != self.pid:
            os._exit(0)  # a fork made by the user's import came back here: it is no zygote

    # -- cells

    def _order_cell(self) -> None:
        if self.nursery is None:
            return
        self.cell_count += 1
        self.ordered_count += 1
        try:
            self.nursery.order(f"s{self.cell_count}")
        except OSError as error:
            self.ordered_count -= 1
            self._refuse_waiting(f"no cell can be made: {error}")

    def _order_beside(self, fields: dict[str, Any], fds: list[int]) -> None:
        """Have a cell made for one fork, in the network of a container that lives."""
        wanted = fields["beside"]
        cells = [one.cell for one in self.containers.values() if one.name == wanted["container"]]
        try:
            if self.nursery is None or not cells or cells[0] is None:
                raise ProcessLookupError("its sandbox has ended")
            wanted["network"] = cells[0].network
            self.cell_count += 1
            name = f"s{self.cell_count}"
            self.nursery.order(name, (cells[0].network, wanted["first"], wanted["count"]))
            self.beside[name] = fields, fds
        except OSError as error:
            self._refuse(fields, fds, str(error))

    def _serve_waiting(self) -> None:
        """Fork for whom there is a cell, and have more made for the others."""
        while self.waiting and (self.ready_cells or self.nursery is None):
            fields, fds = self.waiting.pop(0)
            cell = self.ready_cells.pop(0) if self.nursery is not None else None
            self._fork(fields, fds, cell)
            self.wants_spare = self.nursery is not None
        if self.nursery is None:
            return
        wanted = min(len(self.waiting) + self.more_count, CELLS_AT_ONCE)
        while self.ordered_count + len(self.ready_cells) < wanted:
            self._order_cell()

    def _hear_nursery(self) -> None:
        assert self.nursery is not None
        word, name, reason, pid = self.nursery.receive()
        if name in self.beside:
            fields, fds = self.beside.pop(name)
            if word == "ready":
                network = fields["beside"]["network"]
                cell = self.cells[name] = Cell(name, linux.pidfd_open(pid), network)
                self._fork(fields, fds, cell)
            else:
                self._refuse(fields, fds, reason or "its cell was killed")
        elif word == "ready":
            self.ordered_count -= 1
            cell = self.cells[name] = Cell(name, linux.pidfd_open(pid))
            self.ready_cells.append(cell)
            self._serve_waiting()
        elif word == "failed":
            self.ordered_count -= 1
            self._refuse_waiting(reason)
        elif word == "gone" and name in self.cells:
            self._on_cell_gone(self.cells.pop(name))

    def _refuse_waiting(self, reason: str) -> None:
        for fields, fds in self.waiting:
            self._refuse(fields, fds, reason)
        self.waiting.clear()
        self.more_count = 0

    def _refuse(self, fields: dict[str, Any], fds: list[int], reason: str) -> None:
        self.connection.send(control.FORK_FAILED, {"id": fields["id"], "reason": reason})
        for fd in fds:  # afterwards, for their end says less
            os.close(fd)

    def _on_cell_gone(self, cell: Cell) -> None:
        """Nothing in it lives any more: now its container has ended too."""
        os.close(cell.fd)
        if cell in self.ready_cells:
            self.ready_cells.remove(cell)
        container = cell.container
        if container is not None:
            container.cell = None
            self._tell_exit(container)

    # -- fork

    def _fork(self, fields: dict[str, Any], fds: list[int], cell: Cell | None) -> None:
        name = fields["id"]
        try:
            pid = self._fork_into(cell)
        except OSError as error:
            self.connection.send(control.FORK_FAILED, {"id": name, "reason": str(error)})
            pid = -1
        if pid == 0:
            self._become_container(fields, fds, cell)
        for fd in fds:
            os.close(fd)
        if pid < 0:
            self._end_cell(cell)
            return
        container = self.containers[pid] = Container(name, cell, fields["address"])
        if cell is not None:
            cell.container = container
        scratch = cell.name if cell is not None else name
        self.connection.send(control.FORKED, {"id": name, "scratch": scratch})

    def _fork_into(self, cell: Cell | None) -> int:
        """Fork, into the processes of a cell if there is one; what `os.fork` returns."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # what the import printed must not come out of each child again
            except (OSError, ValueError, AttributeError):
                pass  # the user's import closed or replaced it
        if cell is None:
            return os.fork()
        linux.setns(cell.fd, linux.CLONE_NEWPID)
        try:
            pid = os.fork()
        except OSError:
            linux.setns(self.pid_namespace, linux.CLONE_NEWPID)
            raise
        if pid:
            linux.setns(self.pid_namespace, linux.CLONE_NEWPID)
        return pid

    def _run_command(self, fields: dict[str, Any], fds: list[int]) -> None:
        """Fork a process beside a container that lives."""
        wanted = [one for one in self.containers.values() if one.name == fields["container"]]
        cell = wanted[0].cell if wanted else None
        try:
            if not wanted or (cell is None and self.plan.is_container):
                raise ProcessLookupError("the container has ended")
            pid = self._fork_into(cell)
        except OSError as error:
            failure = {"id": fields["id"], "reason": error.strerror or str(error)}
            self.connection.send(control.COMMAND_FAILED, failure)
            pid = -1
        if pid == 0:
            self._become_command(fields, fds, wanted[0])
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self.containers[pid] = Container(fields["id"], None)

    def _become_command(
        self, fields: dict[str, Any], fds: list[int], container: Container
    ) -> NoReturn:
        cell = container.cell

        def confine() -> dict[str, str]:
            loading.mark_as_container()
            if cell is not None:
                listener = isolate.join_container(self.plan, cell.fd, fields["limits"])
                self._have_watched(listener, cell, container.address)
            else:
                isolate.join_process(self.plan, fields["container"], fields["limits"])
            return dict(os.environ)

        try:
            from volant.runner import command, loading

            self._shed(cell)
            command.serve(fds[0], fds[1:], fields, confine)
        finally:
            os._exit(EXIT_NOT_ISOLATED)

    def _end_cell(self, cell: Cell | None) -> None:
        if cell is not None:
            try:
                linux.pidfd_send_signal(cell.fd, _signal.SIGKILL)
            except ProcessLookupError:
                pass  # already gone; the nursery says so next

    def _become_container(
        self, fields: dict[str, Any], fds: list[int], cell: Cell | None
    ) -> NoReturn:
        channel_fd, sdk_fd, stdout_fd, stderr_fd = fds
        plan, beside = self.plan, fields.get("beside")
        try:
            self._shed(cell)
            if beside is not None:
                plan = plan.beside(beside["first"], beside["count"], beside["cwd"])
            if cell is not None:
                hostname, limits = fields["hostname"], fields["limits"]
                listener = isolate.enter_container(plan, cell.fd, hostname, limits)
            else:
                isolate.enter_process(plan, fields["id"], fields["limits"])
            os.dup2(stdout_fd, 1)
            os.dup2(stderr_fd, 2)
            os.close(stdout_fd)
            os.close(stderr_fd)
            _reseed()
            control.say(channel_fd, b"H")
            if cell is not None:  # only now, as the agent need not wait for it
                self._have_watched(listener, cell, fields["address"])
        except BaseException as exc:  # noqa: BLE001  # must be told, whatever it is
            text = f"E{type(exc).__name__}: {exc}"
            control.say(channel_fd, text.encode("utf-8", "replace"))
            os._exit(EXIT_NOT_ISOLATED)
        if plan.is_for_sandboxes:
            os.close(sdk_fd)
            beginning.hold(plan, channel_fd, fields["limits"])
        from volant.runner import loop

        loop.serve(channel_fd, sdk_fd, fields["id"])

    def _have_watched(self, listener: int, cell: Cell, address: str) -> None:
        """In a cell, its last tie to the zygote: who decides about its ports."""
        assert self.nursery is not None
        if listener >= 0:
            self.nursery.watch(listener, cell.network, address)
            os.close(listener)
        self.nursery.close()

    def _shed(self, own_cell: Cell | None) -> None:
        """Let go of what belongs to the zygote."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, self.user_sigchld)
        self.connection.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        if self.nursery is not None:
            os.close(self.pid_namespace)
        for cell in self.cells.values():
            if cell is not own_cell:
                os.close(cell.fd)
        for _, fds in (*self.waiting, *self.beside.values()):
            for fd in fds:
                os.close(fd)
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
        linux.drain(self.wake_read)
        for pid, status in linux.ended_children():
            container = self.containers.pop(pid, None)
            if container is not None:
                container.status = status
                self._tell_exit(container)
            elif self.nursery is not None and pid == self.nursery.pid:
                os._exit(1)  # no cell can be made any more, and those that are there are dead
            if not self.plan.is_container:
                self._end_orphans()

    def _tell_exit(self, container: Container) -> None:
        """Say that a container has ended, once it and everything in its cell is dead."""
        if container.status < 0:
            return  # its cell was killed under it; it is reaped next
        if container.cell is not None:
            self._end_cell(container.cell)
            return
        self.connection.send(control.EXITED, {"id": container.name, "status": container.status})

    def _end_orphans(self) -> None:
        """Kill what dead containers left: their descendants are now children of ours."""
        for pid in linux.children():
            if pid not in self.containers and pid not in self.imported_pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass


def _reseed() -> None:
    """Give the child randomness of its own (`random` does it by itself at fork, if imported)."""
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _fault(exc: BaseException) -> bytes:
    from volant.wire.faults import encode_fault

    return encode_fault(exc, skip_under=_OUR_FILES)


def _on_sigchld(_signum: int, _frame: object) -> None:
    """Only there so that the wakeup descriptor is written."""
