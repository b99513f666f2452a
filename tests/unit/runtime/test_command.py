"""What the agent takes of a command's keeper, which may be anybody."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from volant.runner import command as inside
from volantd.runtime.command import Command, CommandFailedError, CommandSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


async def _admit(_pid: int) -> None:
    """There is nothing to be held to."""


class Keeper:
    """The other end of a command's channel; a process of its own says hello, and may be killed."""

    def __init__(self, *, terminal: bool) -> None:
        size = (24, 80) if terminal else None
        spec = CommandSpec(argv=["x"], env={}, terminal=size, limits={})
        self.command = Command("c1", spec, opens_terminal=True)
        channel, *rest = self.command.their_fds
        self.channel = socket.socket(fileno=channel)
        for fd in rest:
            os.close(fd)
        greeted, says_so = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.channel.send(inside.HELLO)
                self.channel.close()
                os.close(says_so)
                signal.pause()
            finally:
                os._exit(0)
        os.close(says_so)
        os.read(greeted, 1)  # its end of the channel is ours as well, which a test may shut down
        os.close(greeted)

    def say(self, data: bytes, *fds: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.channel.sendmsg([data], rights)

    async def start(self) -> None:
        async with asyncio.timeout(5):
            await self.command.start(_admit)

    def close(self) -> None:
        self.channel.close()
        self.command.close_fds()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def run() -> Iterator[Callable[..., None]]:
    """Runs a play, after which no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))

    def run_play(play: Callable[..., object], *, terminal: bool = True) -> None:
        async def act() -> None:
            keeper = Keeper(terminal=terminal)
            try:
                await play(keeper)  # type: ignore[misc]  # each play is a coroutine function
                async with asyncio.timeout(5):
                    await keeper.command.exited
            finally:
                keeper.close()

        with asyncio.Runner() as runner:
            runner.run(act())

    yield run_play
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_terminal_and_a_status_are_taken(run):
    async def play(keeper: Keeper) -> None:
        leader, end = os.openpty()
        keeper.say(inside.TERMINAL, leader)
        await keeper.start()
        assert len(keeper.command.fds) == 1
        os.close(leader)
        os.write(end, b"x")
        assert os.read(keeper.command.fds[0], 1) == b"x"
        os.close(end)
        keeper.say(inside.STATUS + (7 << 8).to_bytes(4, "little"))
        assert os.waitstatus_to_exitcode(await keeper.command.exited) == 7
        assert not keeper.command.was_cut_off

    run(play)


@pytest.mark.parametrize("what", ["pipe", "two", "end", "none"])
def test_nothing_else_is_taken_for_a_terminal(run, what: str):
    async def play(keeper: Keeper) -> None:
        leader, end = os.openpty()
        reads, writes = os.pipe()
        fds = {"pipe": (reads,), "two": (leader, leader), "end": (end,), "none": ()}[what]
        keeper.say(inside.TERMINAL, *fds)
        keeper.channel.shutdown(socket.SHUT_WR)
        with pytest.raises(CommandFailedError):
            await keeper.start()
        assert keeper.command.fds == []
        for fd in (leader, end, reads, writes):
            os.close(fd)

    run(play)


def test_a_descriptor_that_nobody_waits_for_is_closed(run):
    async def play(keeper: Keeper) -> None:
        leader, end = os.openpty()
        keeper.say(inside.RUNS, leader)
        await keeper.start()
        assert len(keeper.command.fds) == 3, "its pipes, and nothing else"
        os.close(leader)
        os.close(end)
        keeper.channel.shutdown(socket.SHUT_WR)

    run(play, terminal=False)


@pytest.mark.parametrize(
    "word", [b"", b"?", b"S", b"S\0", b"S" + b"\0" * 5, b"H", b"T", bytes(inside.MESSAGE_BYTES_MAX)]
)
def test_what_no_keeper_says_ends_the_command(run, word: bytes):
    async def play(keeper: Keeper) -> None:
        keeper.say(inside.RUNS)
        await keeper.start()
        if word:
            keeper.say(word)
        else:
            keeper.channel.shutdown(socket.SHUT_WR)
        assert await keeper.command.exited == signal.SIGKILL
        assert keeper.command.was_cut_off

    run(play, terminal=False)


def test_a_status_that_is_none_is_told_as_a_kill(run):
    async def play(keeper: Keeper) -> None:
        keeper.say(inside.RUNS)
        await keeper.start()
        keeper.say(inside.STATUS + (0x137F).to_bytes(4, "little"))  # stopped
        assert await keeper.command.exited == signal.SIGKILL

    run(play, terminal=False)
