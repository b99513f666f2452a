"""What layers that several images share are made with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from volantd.images.keys import Settings
from volantd.images.once import Once
from volantd.images.store import Record, Store
from volantd.images.workbench import Brought, Workbench

if TYPE_CHECKING:
    from pathlib import Path

    from volantd.images.workbench import Command, Say


class Played:
    """Two benches of one builder, whose commands only say that they ran."""

    def __init__(self, home: Path) -> None:
        self.store = Store(str(home))
        self.store.open()
        self.ran: list[Command] = []
        self.heard: dict[str, bytes] = {"one": b"", "two": b""}
        self.shared: Once[str] = Once()

    async def run(self, command: Command, say: Say) -> int:
        self.ran.append(command)
        say(b"ran\n")
        return 0

    async def content(self, digest: str) -> bytes:
        raise KeyError(digest)

    def bench(self, key: str) -> Workbench:
        def say(data: bytes) -> None:
            self.heard[key] += data

        return Workbench(
            key, self.store, Record((), Settings(env={"OF": key})), run=self.run,
            content=self.content, brought=Brought(secrets={"secrets": {"SECRET": key}}),
            say=say, shared=self.shared, choices={"image_python_dirs": "/opt"},
        )  # fmt: skip


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


async def make(bench: Workbench) -> str:
    async with bench.new_layer("shared") as place:
        await bench.run(place, ("/bin/true",), what="true")
        await bench.run(place, ("/bin/true",), what="true")
    return "shared"


def test_a_shared_layer_that_is_made_anew_is_told_by_its_new_name(played: Played) -> None:
    first, second = (asyncio.run(played.bench("one").once("shared", make)) for _ in range(2))
    assert (first, second) == ("shared", "shared.1")
    assert played.store.newest_layer("shared") == "shared.1"


def test_a_shared_layer_is_made_once_for_two_who_want_it_at_once(played: Played) -> None:
    async def scenario() -> list[str]:
        benches = (played.bench("one"), played.bench("two"))
        return await asyncio.gather(*(bench.once("shared", make) for bench in benches))

    assert asyncio.run(scenario()) == ["shared", "shared"]
    assert len(played.ran) == 2
    assert played.heard == {"one": b"ran\nran\n", "two": b"ran\nran\n"}
    assert played.store.has_layer("shared")


def test_it_knows_neither_the_image_nor_the_secrets_of_who_asked(played: Played) -> None:
    asyncio.run(played.bench("one").once("shared", make))
    assert {"OF", "SECRET"}.isdisjoint(played.ran[0].env)


def test_a_choice_of_the_daemon_is_told_and_none_is_empty(played: Played) -> None:
    assert played.bench("one").choice("image_python_dirs") == "/opt"
    assert played.bench("one").choice("image_debian_mirror") == ""


def test_the_newest_layer_of_a_name_is_found(played: Played) -> None:
    store = played.store
    for name in ("other", "debian-a", "debian-b"):
        store.keep(store.begin(), name)
    assert store.newest_layer("debian-") == "debian-b"
    assert store.newest_layer("nothing-") is None
