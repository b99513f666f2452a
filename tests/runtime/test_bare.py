"""Bare zygotes that are kept ahead for programs: which version gets which, and who is given up."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import IMPORT_WITHIN_S
from volant.sdk.images.host import host_wire
from volantd import lent
from volantd.agent.bare import BareZygotes, Machine
from volantd.hub.records import Version

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tests.runtime.laboratory import Laboratory
    from volantd.runtime.client import Zygote

ENTRY = {"module": "app", "file": "app.py", "path": [""]}


def _version(env: dict[str, str] | None = None, module: str = "app") -> Version:
    return Version(
        key="v", image=host_wire(), entry={**ENTRY, "module": module}, files=(), env=env or {},
        block_network=False, imports=True,
    )  # fmt: skip


class Background:
    """Tasks of a loop that turns only now and then."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class Place:
    """Bare zygotes of one laboratory."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.taken: list[Zygote] = []
        self.tasks: Any = Background()
        self.bare: BareZygotes = lab.run(self._make())

    async def _make(self) -> BareZygotes:
        machine = Machine()
        machine.launcher = self.lab.launcher
        machine.lent_dir = lent.directory(str(self.lab.place))
        machine.rung.set_result(self.lab.rung)
        images: Any = None  # the host is none of them
        return BareZygotes(machine, images, self.tasks)

    def take(self, version: Version, *, plain: bool = False) -> Zygote:
        zygote: Zygote = self.lab.run(self.bare.take(version, lambda data: None, plain=plain))
        self.taken.append(zygote)
        return zygote

    def learn(self, version: Version, *names: str, is_whole: bool = True) -> None:
        async def learn() -> None:
            answer = {"prelude": names, "is_whole": is_whole}
            self.bare.learn(version, self.taken[-1], answer)

        self.lab.run(learn())

    def learn_late(self, version: Version, *names: str) -> None:
        async def learn() -> None:
            self.bare.learn_late(version, self.taken[-1], names)

        self.lab.run(learn())

    def await_preloaded(self) -> Zygote:
        found: list[Zygote] = self.lab.eventually(self.bare.preloaded)
        return found[0]

    def close(self) -> None:
        while self.bare.end_preloaded():
            pass
        for zygote in self.taken:
            zygote.kill()
            os.close(zygote.log_fd)


@pytest.fixture
def place(lab: Laboratory) -> Iterator[Place]:
    made = Place(lab)
    yield made
    made.close()


def test_the_next_version_of_a_program_gets_what_was_preloaded_for_it(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    waiting = place.await_preloaded()
    assert place.take(_version({"A": "b"})) is not waiting, "the environment is another"
    assert place.take(_version(module="other")) is not waiting, "the program is another"
    assert place.take(_version(), plain=True) is not waiting, "nothing was to be imported"
    assert place.take(_version()) is waiting
    assert place.bare.preloaded() == []


def test_a_program_that_begins_with_nothing_has_none(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    place.learn(_version())
    assert place.bare.end_preloaded() is False


def test_a_version_that_could_not_be_imported_has_the_next_one_expected(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    place.await_preloaded()
    failed = place.take(_version())

    async def expect() -> None:
        place.bare.expect(_version(), failed)

    place.lab.run(expect())
    assert place.await_preloaded() is not failed


def test_what_waits_is_ended_when_memory_is_short(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    waiting = place.await_preloaded()
    assert place.bare.end_preloaded() is True
    place.lab.run(asyncio.wait_for(asyncio.shield(waiting.exited), IMPORT_WITHIN_S))
    assert place.take(_version()) is not waiting


def test_what_cannot_be_preloaded_is_not_tried_again(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "nothing_of_this_name")
    place.lab.eventually(lambda: None in place.bare._preludes.values())
    place.learn(_version(), "colorsys")
    assert list(place.bare._preludes.values()) == [None]
    assert place.take(_version()) is not None


def test_what_functions_import_late_is_preloaded_as_well(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    first = place.await_preloaded()
    place.learn_late(_version(), "this")
    assert place.bare.preloaded() == [], "the first has not imported it"
    second = place.await_preloaded()
    assert second is not first
    place.learn_late(_version(), "this")
    assert place.bare.preloaded() == [second], "nothing is new"
    assert place.take(_version()) is second


def test_late_imports_that_fail_are_left_out(place: Place) -> None:
    place.take(_version())
    place.learn(_version(), "colorsys")
    place.await_preloaded()
    place.learn_late(_version(), "nothing_of_this_name")
    place.lab.eventually(lambda: not place.bare._late)
    place.learn(_version(), "colorsys")
    waiting = place.await_preloaded()
    assert place.take(_version()) is waiting


def test_late_imports_that_do_not_fit_a_version_are_forgotten(place: Place) -> None:
    zygote = place.take(_version())
    place.learn_late(_version(), "colorsys")
    place.await_preloaded()
    place.bare.unlearn_late(_version(), zygote)
    assert place.take(_version()) in place.taken
    place.learn(_version())
    assert place.bare.end_preloaded() is False
