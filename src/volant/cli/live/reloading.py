"""One reload: a fork that loads the program, describes its app, and has it replace the old one.

    parent (warm, has never seen user code) ──fork──► prelude ─► wait ─► load ─► describe ─► ...
    ... stage ─► update ─► report
         fails: traceback, report what to watch

Each load has a process of its own, so that nothing of an earlier one is left: modules, threads,
files. The parent has imported what all need. It forks ahead of the next save, and what it forks
imports what the program began with the last time: a reload is then as fast as the rest.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from volant.channel import current
from volant.cli import failures, target
from volant.cli.failures import Refused
from volant.runner.loading import SDK_DIR
from volant.runner.template.preloading import Preloading, Program
from volant.sdk import output
from volant.sdk.deploying.staging import Ahead, StagedApp, is_current
from volant.sdk.running import chain_of
from volant.sdk.sources import is_local
from volant.wire import values

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from volant.sdk.app import App

#: Largest report, in bytes: it names files.
REPORT_BYTES_MAX = 16 << 20
_READ_BYTES = 64 << 10


class Plan:
    """What is served: the reference, and how the user gave it."""

    def __init__(self, reference: str, *, as_module: bool, name: str | None) -> None:
        self.reference = reference
        self.label = reference.partition("::")[0]
        self.as_module = as_module
        self.name = name

    def check(self) -> None:
        """Make sure that there is such a program.

        Raises:
            Refused: when there is none.
        """
        if not self.as_module and not (self.label.endswith(".py") and os.path.isfile(self.label)):
            from volant.cli.candidates import no_such_file

            raise no_such_file(self.label)

    def entry_path(self) -> str:
        """A file to watch before anything is known of the program."""
        if not self.as_module:
            return os.path.abspath(self.label)
        path = os.path.abspath(self.label.replace(".", os.sep))
        return os.path.join(path, "__init__.py") if os.path.isdir(path) else f"{path}.py"

    def program(self) -> Program:
        """Where the program begins, and where sources of its own may lie."""
        first = os.getcwd() if self.as_module else os.path.dirname(os.path.realpath(self.label))
        others = [one for one in map(os.path.abspath, sys.path) if is_local(f"{one}/any.py")]
        others = [one for one in others if one != SDK_DIR and os.path.isdir(one)]
        start = self.label if self.as_module else os.path.abspath(self.label)
        directories = list(dict.fromkeys([first, *others]))
        return Program(start, directories, is_local, is_file=not self.as_module)


class Served:
    """The version that is served, as the reload that brought it has reported; at first none."""

    def __init__(self) -> None:
        self.mark = b""
        self.description: dict[str, Any] = {}
        self.local_paths: dict[str, str] = {}
        #: What the program begins with, as it was loaded last; it may be nothing.
        self.prelude: list[str] = []


class Reload:
    """A fork that loads the program anew, once it is told to."""

    def __init__(self, plan: Plan, app_id: str, served: Served, prelude: list[str]) -> None:
        """Start it.

        Args:
            plan: what to load.
            app_id: the app that is to be what the program says.
            served: what it is; a version that is the same changes nothing.
            prelude: modules to import while it waits.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._made_for = app_id, served.mark
        self.fd, report_fd = os.pipe()
        go_fd, self._go_fd = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.fd)
            os.close(self._go_fd)
            _run(_Load(plan, app_id, served), prelude, go_fd, report_fd)
        os.close(report_fd)
        os.close(go_fd)
        os.set_blocking(self.fd, False)
        self._report = bytearray()

    def go(self, app_id: str, served: Served) -> bool:
        """Have it load the program now; False when it cannot, or was made for something else."""
        if self._made_for != (app_id, served.mark):
            return False
        try:
            return os.write(self._go_fd, b"G") == 1
        except BrokenPipeError:
            return False  # what it imported ahead has ended it

    def read(self) -> dict[str, Any] | None:
        """What it reports when it is over, None before; {} when it ended without a report."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return None
            if not data or len(self._report) > REPORT_BYTES_MAX:
                break
            self._report += data
        self.end()
        try:
            return values.decode_map(bytes(self._report))
        except ValueError:
            return {}

    def end(self) -> None:
        """End it, whatever it does, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self._go_fd)


def _run(load: _Load, prelude: list[str], go_fd: int, report_fd: int) -> None:
    """Live as the fork; does not return."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        if not load.is_ready(prelude, go_fd):
            os._exit(code)
        report = load.run()
        code = 0
    except KeyboardInterrupt:
        report = {"problem": "interrupted"}
    except BaseException as error:  # noqa: BLE001  # what user code raises is shown here
        files = _files_of(error)
        failures.report(error)
        report = {
            "problem": type(error).__name__, "refused": isinstance(error, Refused),
            "sources": [*_loaded(), *files],
        }  # fmt: skip
    try:
        with os.fdopen(report_fd, "wb") as pipe:
            pipe.write(values.encode(report))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        # Neither exit handlers nor threads of the user's program have a say.
        os._exit(code)


class _Load:
    """What the fork does."""

    def __init__(self, plan: Plan, app_id: str, served: Served) -> None:
        self._plan = plan
        self._app_id = app_id
        self._served = served
        self._preloading = Preloading()

    def is_ready(self, prelude: list[str], go_fd: int) -> bool:
        """Import a prelude and wait until the program is to be loaded; False: end instead."""
        # Byte code that is kept is told from a later source by size and whole seconds: who saves
        # twice within one would see the first again.
        sys.dont_write_bytecode = True
        if prelude:
            # A failure is told where the program itself imports it. A process that loads and
            # never forks may have threads, but zygotes may not: both do the same here.
            if self._preloading.load(prelude) or any(map(is_local, self._preloading.files())):
                return False
            gc.freeze()
        return bool(os.read(go_fd, 1))

    def run(self) -> dict[str, Any]:
        """Load the program and have it served; returns the report."""
        gc.enable()
        program = self._plan.program()
        if not self._preloading.fits(program):
            return {"unfit": True}
        channel = current.channel()
        channel.on_event = _on_event
        ahead = Ahead(channel)
        if self._served.mark:
            ahead.stage(self._served.description, self._served.local_paths)
        sys.argv[:] = [self._plan.label]
        self._preloading.begin()
        begun = perf_counter_ns()
        app = target.find_app(self._plan.reference, as_module=self._plan.as_module)
        took_us = (perf_counter_ns() - begun) // 1000
        return self._preloading.learn(program, took_us) | self._update(app, ahead)

    def _update(self, app: App, ahead: Ahead) -> dict[str, Any]:
        staged = StagedApp(app, self._plan.name or app.name, detach=False)
        mark, before = staged.describe(), self._served.mark
        report: dict[str, Any] = {
            "mark": mark, "name": staged.name, "changed": mark != before,
            "description": staged.description, "local_paths": staged.sources.local_paths,
            "attached": [one for one in staged.image_contents.values() if isinstance(one, str)],
        }  # fmt: skip
        if mark != before:
            staged.stage(ahead)
            if not is_current(staged.description["files"], staged.sources.local_paths):
                return report | {"outdated": True}  # described in the middle of a save
            report |= staged.update(self._app_id)
        return report


def _on_event(event: dict[str, Any]) -> None:
    """Show how images are built; what is told of every app was told to the parent already."""
    assert output.active is not None
    if event["op"] != "notice":
        output.active.on_event(event)


def _loaded() -> list[str]:
    """Local files of the modules that were loaded, or began to be."""
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [os.path.abspath(path) for path in paths if isinstance(path, str) and is_local(path)]


def _files_of(error: BaseException) -> list[str]:
    """Local files that an exception and its chain speak of."""
    found: list[str] = []
    for one in chain_of(error):
        if isinstance(one, SyntaxError) and one.filename:
            found.append(one.filename)
        traceback: TracebackType | None = one.__traceback__
        while traceback is not None:
            found.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
    return [os.path.abspath(path) for path in found if os.path.exists(path) and is_local(path)]


def preload(stamped: Callable[[dict[str, Any]], bytes] | None = None) -> None:
    """Import what each reload needs, and spare it the collector.

    Args:
        stamped: makes what is shown of what containers print; None: as it is.
    """
    import volant.sdk.calls.forms  # noqa: F401

    output.active = output.Output()
    output.active.stamped = stamped
    gc.collect()
    gc.freeze()
    current.channel()
