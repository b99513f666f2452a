"""Programs that use Volant in processes of their own, and what the hub says about their parts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import ROOT
from volant.channel import current
from volant.channel.opening import open_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).parent / "apps"
#: Longer than this no step of a program takes, even on a busy machine.
WITHIN_S = 60.0
#: What no traceback shows.
OUR_PARTS = ("volant/sdk", "volant/channel", "volant/wire", "volant/runner", "volant/cli")


class Program:
    """A running Python program, read line by line."""

    def __init__(
        self, *words: object, home: Path, directory: Path = APPS, stdin: str | None = None,
        interactive: bool = False,
    ) -> None:  # fmt: skip
        """Start `python words...`.

        Args:
            words: the command line behind `python`.
            home: VOLANT_HOME.
            directory: where it runs; by default that of the programs here.
            stdin: what it may read.
            interactive: whether it is told more by `say`.
        """
        environ = {key: value for key, value in os.environ.items() if key != "VOLANT_HOME"}
        environ |= {"VOLANT_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=directory,
            env=environ,
            stdin=subprocess.PIPE if interactive or stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self.process.stdin is not None and not interactive:
            self.process.stdin.write(stdin or "")
            self.process.stdin.close()
            self.process.stdin = None  # or `communicate` would flush it again

    def lines(self) -> Iterator[str]:
        """What it prints, as it prints it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.rstrip("\n")

    def line(self) -> str:
        """The next line that it prints; fails with what it complained about."""
        found = next(self.lines(), None)
        if found is None:
            _, complaint = self.process.communicate(timeout=WITHIN_S)
            raise AssertionError(f"it ended with {self.process.returncode}:\n{complaint}")
        return found

    def say(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def interrupt(self) -> None:
        """What Ctrl-C does to it."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; returns exit code, the rest of what it printed, and its stderr."""
        printed, complaint = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, printed, complaint

    def kill(self) -> None:
        """End it as nothing can be caught, and reap it; what nobody has read is shown."""
        if self.process.poll() is None:
            self.process.kill()
        for said in self.process.communicate(timeout=WITHIN_S):
            if said:  # pytest keeps it for tests that fail
                print(f"{self.process.args!r}, {self.process.returncode}:\n{said}")


def program_file(directory: Path, text: str, name: str = "program.py") -> Path:
    """Write a program; returns its path."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run_program(
    *words: object, home: Path, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which has to be a good one."""
    program = Program(*words, home=home, stdin=stdin)
    try:
        code, printed, complaint = program.end()
    finally:
        program.kill()
    assert code == 0, f"exit code {code}\n{printed}\n{complaint}"
    return subprocess.CompletedProcess(list(words), code, printed, complaint)


@contextlib.contextmanager
def at_home(volant_home: Path, **variables: str) -> Iterator[None]:
    """What this process calls goes to the daemon of another home, started with `variables`."""
    given = {"VOLANT_HOME": str(volant_home), **variables}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    current.forget()
    try:
        yield
    finally:
        current.forget()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def ask(home: Path, op: str, **fields: object) -> dict[str, Any]:
    """One request to the daemon of a home, over a connection of its own."""
    channel = open_channel(str(home))
    try:
        return channel.request(op, **fields)
    finally:
        channel.close()


def containers(home: Path, *, function: str | None = None) -> list[dict[str, Any]]:
    """The containers of a daemon that are not gone, of one function or all."""
    rows: list[dict[str, Any]] = ask(home, "container_list")["containers"]
    return [row for row in rows if function is None or row["function"] == function]


def apps(home: Path) -> list[dict[str, Any]]:
    """The apps that run."""
    rows: list[dict[str, Any]] = ask(home, "app_list")["apps"]
    return [row for row in rows if row["state"] in ("ephemeral", "detached")]


def has_printed(home: Path, app_id: str | None, text: str) -> bool:
    """Whether a container of an app has printed this; the first line says that user code runs."""
    entries = ask(home, "app_logs", app=app_id)["entries"]
    return text.encode() in b"".join(entry["data"] for entry in entries)


def is_alive(pid: int) -> bool:
    """False once a process is gone, or only waits to be reaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


assert APPS.is_relative_to(ROOT)
