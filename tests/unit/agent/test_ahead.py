"""What is made ahead for sandboxes: who gets it, and when it ends."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from volantd.agent.sandboxes.ahead import BASES_MAX, BLANKS_MAX, Ahead
from volantd.runtime.client import ZygoteSpec

if TYPE_CHECKING:
    from collections.abc import Coroutine

LONG_S = 1000.0
PLAIN = ZygoteSpec(
    rung="container", python="/python", sdk_dir="/sdk", cloudpickle_dir="/sdk", lent_dir="/lent"
)
BLOCKED = dataclasses.replace(PLAIN, block_network=True)


class Process:
    """A base, its zygote, or a holder and its process, as far as they are asked."""

    def __init__(self) -> None:
        self.zygote = self.forked = self
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def kill(self) -> None:
        """End."""
        if not self.exited.done():
            self.exited.set_result(9)


class Machine:
    """Forks and boots, and remembers it."""

    def __init__(self, *, idle_s: float = LONG_S, holder_count: int = 2) -> None:
        self.forked: list[Process] = []
        self.booted: list[tuple[Process, ZygoteSpec]] = []
        self.discarded: list[Process] = []
        self.idle = asyncio.Event()
        self.news = asyncio.Condition()
        self._tasks: set[Any] = set()
        as_any: Any = self
        self.ahead = Ahead(
            as_any, as_any, holder_count=holder_count, idle_s=idle_s, boot=as_any.boot,
            on_idle=self.idle.set,
        )  # fmt: skip

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def fork(self, zygote: Process) -> Process:
        child = Process()
        self.forked.append(child)
        await self._tell()
        return child

    async def boot(self, spec: ZygoteSpec) -> Process:
        made = Process()
        self.booted.append((made, spec))
        await self._tell()
        return made

    def discard(self, child: Process) -> None:
        child.kill()
        self.discarded.append(child)

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def have(self, count: int) -> None:
        """Wait until so much was forked and booted, and is where it belongs."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.forked) + len(self.booted) >= count)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def child(self, base: Process) -> Process:
        wanted: Any = base
        found: Any = await self.ahead.child(wanted)
        return found

    def expect(self, base: Process) -> None:
        wanted: Any = base
        self.ahead.expect(wanted)


def test_each_holder_is_one_sandbox_and_others_take_its_place() -> None:
    async def check() -> None:
        machine, base = Machine(), Process()
        machine.expect(base)
        await machine.have(2)
        given = [await machine.child(base) for _ in range(2)]
        assert given == machine.forked
        await machine.have(4)
        given += [await machine.child(base) for _ in range(3)]
        assert len(set(given)) == 5
        machine.ahead.end()
        assert not set(given) & set(machine.discarded)

    asyncio.run(check())


def test_a_holder_that_has_ended_is_nobody_s() -> None:
    async def check() -> None:
        machine, base = Machine(), Process()
        machine.expect(base)
        await machine.have(2)
        machine.forked[0].kill()
        assert await machine.child(base) is machine.forked[1]
        assert machine.discarded == machine.forked[:1]
        machine.ahead.end()

    asyncio.run(check())


def test_the_bases_that_were_used_last_have_holders() -> None:
    async def check() -> None:
        machine, bases = Machine(), [Process() for _ in range(BASES_MAX + 1)]
        for count, base in enumerate(bases, 1):
            machine.expect(base)
            await machine.have(2 * count)
        assert machine.discarded == machine.forked[:2]
        machine.ahead.end()

    asyncio.run(check())


def test_holders_of_a_base_that_ends_go_with_it() -> None:
    async def check() -> None:
        machine, base = Machine(), Process()
        machine.expect(base)
        await machine.have(2)
        base.kill()
        await asyncio.sleep(0)
        assert machine.discarded == machine.forked
        machine.ahead.end()

    asyncio.run(check())


def test_a_base_without_an_image_is_there_for_who_wants_one_again() -> None:
    async def check() -> None:
        machine = Machine()
        assert machine.ahead.blank(BLOCKED) is None
        await machine.have(1)
        [(made, spec)] = machine.booted
        assert spec is BLOCKED
        assert machine.ahead.blank(PLAIN) is None
        first: Any = machine.ahead.blank(BLOCKED)
        assert first is made
        assert machine.ahead.blank(BLOCKED) is None
        await machine.have(3)
        machine.ahead.end()
        assert all(one.exited.done() for one, _ in machine.booted if one is not first)
        assert not first.exited.done()

    asyncio.run(check())


def test_kinds_of_bases_without_an_image_that_were_used_last_are_ahead() -> None:
    async def check() -> None:
        machine = Machine()
        kinds = [
            dataclasses.replace(PLAIN, python=f"/{number}") for number in range(BLANKS_MAX + 1)
        ]
        machine.ahead.expect_blank(kinds[0])
        await machine.have(1)
        for kind in kinds[1:]:
            machine.ahead.expect_blank(kind)
        await machine.have(BLANKS_MAX + 1)
        assert [one.exited.done() for one, _ in machine.booted] == [True] + [False] * BLANKS_MAX
        assert machine.ahead.blank(kinds[0]) is None
        machine.ahead.end()

    asyncio.run(check())


def test_all_of_it_ends_when_nobody_wants_any() -> None:
    async def check() -> None:
        machine, base = Machine(idle_s=0.1), Process()
        machine.expect(base)
        machine.ahead.blank(PLAIN)
        await machine.have(3)
        await machine.idle.wait()
        assert machine.discarded == machine.forked
        assert [one.exited.done() for one, _ in machine.booted] == [True]
        assert await machine.child(base) not in machine.discarded
        machine.ahead.end()

    asyncio.run(check())


def test_nothing_is_made_ahead_where_none_is_wanted() -> None:
    async def check() -> None:
        machine, base = Machine(idle_s=0.1, holder_count=0), Process()
        await machine.child(base)
        machine.ahead.blank(PLAIN)
        await machine.idle.wait()
        assert (len(machine.forked), machine.booted) == (1, [])

    asyncio.run(check())
