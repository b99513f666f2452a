"""Commands in containers: terminals and pipes, what they may do, and that nothing stays of them."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import ANSWER_WITHIN_S
from volant.runner import command as inside
from volantd.runtime.client import CommandFailedError, CommandSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Command, Zygote


async def _admit(_pid: int) -> None:
    """There are no cgroups here."""


class Running:
    """A command, and what it writes."""

    def __init__(self, lab: Laboratory, command: Command) -> None:
        self.lab = lab
        self.command = command
        self.written = [b""] * len(command.fds)

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.command.fds[0], data) :]

    def read_until(self, wanted: bytes, source: int = 0) -> bytes:
        """Read until it has written something, or its end if that is empty."""
        fd = self.command.fds[source]
        while not wanted or wanted not in self.written[source]:
            assert select.select([fd], [], [], ANSWER_WITHIN_S)[0], self.written
            try:
                data = os.read(fd, 65536)
            except OSError:  # how Linux says that nobody has a terminal open any more
                data = b""
            if not data:
                assert not wanted, f"{wanted!r} never came in {self.written[source]!r}"
                break
            self.written[source] += data
        return self.written[source]

    def wait(self) -> int:
        """Its exit code, negative for a signal."""

        async def wait() -> int:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await asyncio.shield(self.command.exited)

        return os.waitstatus_to_exitcode(self.lab.run(wait()))

    def close(self) -> None:
        self.command.hang_up()
        self.command.close_fds()
        self.wait()


class Start:
    """Starts commands in the container of a test; they end with it."""

    def __init__(self, container: Container, zygote: Zygote) -> None:
        self.container = container
        self.zygote = zygote
        self.started: list[Running] = []

    def __call__(self, *argv: str, **changes: Any) -> Running:
        lab = self.container.lab
        lab.count += 1
        fields = {"env": {}, "terminal": None, "limits": {"files": 256}, **changes}
        work = self.zygote.run(
            self.container.forked, f"x{lab.count}", CommandSpec(argv=argv, **fields), _admit
        )
        running = Running(lab, lab.run(work))
        self.started.append(running)
        return running


@pytest.fixture
def start(container: Container, shared_zygote: Zygote) -> Iterator[Start]:
    starter = Start(container, shared_zygote)
    yield starter
    for running in starter.started:
        running.close()


SIZE = {"terminal": (40, 123)}


def test_what_is_written_comes_by_two_pipes_and_the_exit_code_with_it(start: Start) -> None:
    running = start("sh", "-c", "echo out; echo err >&2; exit 7")
    assert running.read_until(b"", 1) == b"out\n"
    assert running.read_until(b"", 2) == b"err\n"
    assert running.wait() == 7


def test_the_end_of_stdin_is_passed_on_and_bytes_are_not_changed(start: Start) -> None:
    running = start("cat")
    data = bytes(range(256)) * 8
    running.write(data)
    os.close(running.command.fds[0])
    running.command.fds[0] = os.open("/dev/null", os.O_RDONLY)
    assert running.read_until(b"", 1) == data
    assert running.wait() == 0


def test_a_terminal_has_its_size_and_is_known_to_be_one(start: Start) -> None:
    running = start("sh", "-c", "stty size; test -t 0 && test -t 2 && echo both; echo x > /dev/tty",
                    **SIZE)  # fmt: skip
    assert running.read_until(b"") == b"40 123\r\nboth\r\nx\r\n"
    assert running.wait() == 0


def test_a_terminal_of_a_container_has_a_name_in_it(
    container_lab: Laboratory,
) -> None:
    zygote = container_lab.zygote()
    container = container_lab.fork(zygote)
    running = Start(container, zygote)("tty", **SIZE)
    assert running.read_until(b"").startswith(b"/dev/pts/")
    running.close()
    container_lab.end(zygote)
    container.close()


def test_a_resize_reaches_the_command(start: Start) -> None:
    waits = "echo ready; while :; do read x; done"
    running = start("sh", "-c", "trap 'stty size; exit 0' WINCH; " + waits, **SIZE)
    running.read_until(b"ready")
    inside.set_size(running.command.fds[0], 11, 22)
    running.read_until(b"11 22")
    assert running.wait() == 0


def test_ctrl_c_ends_the_command_and_not_the_container(start: Start) -> None:
    running = start("cat", **SIZE)
    running.write(b"ready\n")
    running.read_until(b"ready\r\nready\r\n")
    running.write(b"\x03")
    assert running.wait() == -signal.SIGINT
    assert start.container.ask("result = 'alive'") == "alive"


def test_its_variables_are_the_containers_and_those_it_is_given(start: Start) -> None:
    running = start("sh", "-c", "echo $TERM:$HOME; python3 -c 'import volant' || echo $PYTHONPATH",
                    env={"TERM": "xterm-256color"})  # fmt: skip
    written = running.read_until(b"", 1).decode().splitlines()
    home = start.container.ask("import os; result = os.environ['HOME']")
    assert written[0] == f"xterm-256color:{home}"


def test_it_starts_where_the_container_works(start: Start) -> None:
    start.container.ask("open('made-here', 'w').close()")
    running = start("sh", "-c", "ls; ls data/")
    assert {b"made-here", b"words.txt"} <= set(running.read_until(b"", 1).split())


@pytest.mark.parametrize(
    ("argv", "code", "complaint"),
    [
        (("no-such-program",), 127, b"volant: cannot run `no-such-program`: there is no such"),
        (("/",), 126, b"volant: cannot run `/`: Permission denied"),
    ],
)
def test_what_cannot_be_run_says_so(
    start: Start, argv: tuple[str, ...], code: int, complaint: bytes
) -> None:
    running = start(*argv)
    assert running.read_until(b"", 2).startswith(complaint)
    assert running.wait() == code


LEAVER = "setsid sh -c 'trap \"\" HUP TERM; echo $$; exec sleep 600' & "


def test_nothing_stays_of_a_command_that_has_ended(start: Start) -> None:
    running = start("sh", "-c", LEAVER + "read x; exit 3")
    running.read_until(b"\n", 1)
    running.write(b"x\n")
    assert running.wait() == 3
    assert running.read_until(b"", 1).strip().isdigit(), "the end of the pipe: nobody has it"


@pytest.mark.parametrize("terminal", [None, (24, 80)])
def test_nothing_stays_of_a_command_that_was_hung_up(
    start: Start, terminal: tuple[int, int] | None
) -> None:
    """Neither of one that ignores it."""
    running = start("sh", "-c", "trap '' HUP; " + LEAVER + "echo ready; while :; do sleep 1; done",
                    terminal=terminal)  # fmt: skip
    running.read_until(b"ready", 1 if terminal is None else 0)
    running.command.hang_up()
    assert running.wait() == -signal.SIGKILL
    running.read_until(b"", 1 if terminal is None else 0)


def test_it_is_told_that_it_was_hung_up(start: Start) -> None:
    running = start("sh", "-c", "trap 'echo bye; exit 5' HUP; echo ready; while :; do read x; done",
                    **SIZE)  # fmt: skip
    running.read_until(b"ready")
    running.command.hang_up()
    running.read_until(b"bye")
    assert running.wait() == 5


def test_it_ends_with_its_container(lab: Laboratory, shared_zygote: Zygote) -> None:
    container = lab.fork(shared_zygote)
    running = Start(container, shared_zygote)("sleep", "600")
    container.end()
    assert running.wait() == -signal.SIGKILL
    running.close()


def test_a_container_that_has_ended_runs_no_command(lab: Laboratory, shared_zygote: Zygote) -> None:
    container = lab.fork(shared_zygote)
    container.end()
    with pytest.raises(CommandFailedError, match="has ended"):
        Start(container, shared_zygote)("true")
