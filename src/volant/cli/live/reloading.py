"""One reload: a fork that loads the program, describes its app, and has it replace the old one.

    parent (warm, has never seen user code) ──fork──► load ─► describe ─► stage ─► update ─► report
                                                        └─ fails: traceback, report what to watch

Each load has a process of its own, so that nothing of an earlier one is left: modules, threads,
files. The parent has imported what all need; that makes a reload as fast as the program's imports.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from volant.channel import current
from volant.cli import failures, target
from volant.cli.failures import Refused
from volant.sdk import output
from volant.sdk.deploying.staging import Ahead, StagedApp, is_current
from volant.sdk.sources import is_local
from volant.wire import values

if TYPE_CHECKING:
    from types import TracebackType

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


class Served:
    """The version that is served, as the reload that brought it has reported; at first none."""

    def __init__(self) -> None:
        self.mark = b""
        self.description: dict[str, Any] = {}
        self.local_paths: dict[str, str] = {}


class Reload:
    """A fork that loads the program anew."""

    def __init__(self, plan: Plan, app_id: str, served: Served) -> None:
        """Start it.

        Args:
            plan: what to load.
            app_id: the app that is to be what the program says.
            served: what it is; a version that is the same changes nothing.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.fd, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.fd)
            _run(plan, app_id, served, theirs)
        os.close(theirs)
        os.set_blocking(self.fd, False)
        self._report = bytearray()

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


def _run(plan: Plan, app_id: str, served: Served, report_fd: int) -> None:
    """Live as the fork; does not return."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        report = _reload(plan, app_id, served)
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


def _reload(plan: Plan, app_id: str, served: Served) -> dict[str, Any]:
    # Byte code that is kept is told from a later source by size and whole seconds: who saves
    # twice within one would see the first again.
    sys.dont_write_bytecode = True
    gc.enable()
    channel = current.channel()
    channel.on_event = _on_event
    ahead = Ahead(channel)
    if served.mark:
        ahead.stage(served.description, served.local_paths)
    sys.argv[:] = [plan.label]
    app = target.find_app(plan.reference, as_module=plan.as_module)
    staged = StagedApp(app, plan.name or app.name, detach=False)
    mark = staged.describe()
    report: dict[str, Any] = {
        "mark": mark, "name": staged.name, "changed": mark != served.mark,
        "description": staged.description, "local_paths": staged.sources.local_paths,
        "attached": [one for one in staged.image_contents.values() if isinstance(one, str)],
    }  # fmt: skip
    if mark != served.mark:
        staged.stage(ahead)
        if not is_current(staged.description["files"], staged.sources.local_paths):
            return report | {"outdated": True}  # described in the middle of a save
        report |= staged.update(app_id)
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
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, SyntaxError) and one.filename:
            found.append(one.filename)
        traceback: TracebackType | None = one.__traceback__
        while traceback is not None:
            found.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
    return [os.path.abspath(path) for path in found if os.path.exists(path) and is_local(path)]


def preload() -> None:
    """Import what each reload needs, and spare it the collector."""
    import volant.sdk.calls.forms  # noqa: F401

    output.active = output.Output()
    gc.collect()
    gc.freeze()
    current.channel()
