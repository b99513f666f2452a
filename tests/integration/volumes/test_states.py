"""States of volumes with a real database: changes in turn, sent twice, collected, committed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.volumes.committing import VOLUME, World
from tests.unit.volumes.memory import file
from volantd.core.volumes import trees
from volantd.core.volumes.entries import parts_of
from volantd.volumes.scanning import TooMuchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from volantd.core.volumes.entries import Entry
    from volantd.volumes.mounts import Mount
    from volantd.volumes.nodes import StoredNodes


def in_world(path: Path, work: Callable[[World], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        world = World(path)
        try:
            return await work(world)
        finally:
            world.close()

    return asyncio.run(run())


async def put(world: World, path: str, **given: Any) -> int:
    data = path.encode()
    entry = file(path)
    world.contents.put([(entry.content, data)])

    def work(nodes: StoredNodes, root: Entry) -> Entry:
        return trees.changed(nodes, root, {parts_of(path): entry}, 1)

    state = await world.states.change(VOLUME, work, action="put", made_by="test", **given)
    return state.number


async def paths(world: World) -> list[str]:
    state = await world.states.latest(VOLUME)
    return await world.states.on_thread(
        lambda nodes: [path for path, _ in trees.walk(nodes, state.root)]
    )


async def mounted(world: World, *parts: str) -> tuple[Mount, Path]:
    mount = await world.mounts.open(VOLUME, "/data", parts, read_only=False, made_by="test")
    return mount, Path(mount.view.directory, "upper")


def test_changes_that_come_together_are_made_in_turn(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await asyncio.gather(*(put(world, f"file-{number}") for number in range(20)))
        assert len(await paths(world)) == 20
        assert [row.number for row in await world.states.history(VOLUME, 3)] == [20, 19, 18]

    in_world(tmp_path, work)
    assert len(in_world(tmp_path, paths)) == 20


def test_whoever_leaves_while_a_change_is_written_harms_nobody_after_them(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        may_go_on, begun = threading.Event(), asyncio.Event()
        submit = world.database.submit

        def held(write: Callable[[Connection], Any]) -> Future[Any]:
            begun.set()
            return submit(lambda connection: (may_go_on.wait(), write(connection)))

        await world.states.latest(VOLUME)
        world.database.submit = held  # type: ignore[method-assign]
        leaving = asyncio.ensure_future(put(world, "a"))
        await begun.wait()
        leaving.cancel()
        after = asyncio.ensure_future(put(world, "b"))
        may_go_on.set()
        assert await after == 2
        assert leaving.cancelled()
        assert await paths(world) == ["a", "b"]

    in_world(tmp_path, work)


def test_a_change_that_is_sent_twice_is_made_once(tmp_path: Path) -> None:
    async def once(world: World) -> None:
        assert await put(world, "a", change_id="c1") == 1
        await put(world, "b")
        assert await put(world, "other", change_id="c1") == 2

    async def again(world: World) -> None:
        assert await put(world, "other", change_id="c1") == 2
        assert await paths(world) == ["a", "b"]

    in_world(tmp_path, once)
    in_world(tmp_path, again)


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    def fail(*_: object) -> Entry:
        raise TooMuchError

    async def work(world: World) -> None:
        await put(world, "a")
        with pytest.raises(TooMuchError):
            await world.states.change(VOLUME, fail, action="x", made_by="test")
        assert (await world.states.latest(VOLUME)).number == 1
        assert await put(world, "b") == 2

    in_world(tmp_path, work)


def test_containers_commit_into_one_another(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await put(world, "base")
        one, first = await mounted(world)
        two, second = await mounted(world)
        (first / "one").write_text("1")
        (second / "two").write_text("2")
        (first / "both").write_text("one")
        (second / "both").write_text("two")
        await world.mounts.commit(one, action="one")
        await world.mounts.commit(two, action="two")
        assert await paths(world) == ["base", "both", "one", "two"]
        assert (await world.mounts.commit(one, action="nothing new"))[0] is None
        state = await world.states.latest(VOLUME)
        both = await world.states.on_thread(lambda nodes: trees.find(nodes, state.root, ("both",)))
        assert both is not None and world.contents.get(both.content) == b"two"

    in_world(tmp_path, work)


def test_a_part_of_a_volume_is_committed_where_it_lies(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await put(world, "elsewhere")
        part, upper = await mounted(world, "deep", "down")
        (upper / "file").write_text("x")
        await world.mounts.commit(part, action="part")
        assert await paths(world) == ["deep", "deep/down", "deep/down/file", "elsewhere"]

    in_world(tmp_path, work)


def test_what_is_needed_survives_a_collection(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await put(world, "kept")
        mount, upper = await mounted(world)
        (upper / "large").write_bytes(b"x" * 1_000_000)
        await world.mounts.commit(mount, action="large")
        orphan = file("orphan")
        world.contents.put([(orphan.content, b"orphan")])
        count = await world.states.collect(world.mounts.in_use)
        assert count >= 1
        assert world.contents.get(orphan.content) is None
        assert world.contents.get(file("kept").content) == b"kept"
        for path in await paths(world):
            assert path
        assert (await world.states.collect(world.mounts.in_use)) == 0

    in_world(tmp_path, work)


def test_a_collection_waits_for_work_that_has_begun(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await put(world, "a")
        with world.states.working():
            entry = file("unnamed yet")
            world.contents.put([(entry.content, b"unnamed yet")])
            collecting = asyncio.ensure_future(world.states.collect(world.mounts.in_use))
            await asyncio.wait([collecting], timeout=0.05)
            assert not collecting.done()
            await put(world, "unnamed yet")
        await collecting
        assert world.contents.get(entry.content) == b"unnamed yet"

    in_world(tmp_path, work)


def test_what_was_written_and_never_committed_goes_with_the_daemon(tmp_path: Path) -> None:
    async def write(world: World) -> None:
        _, upper = await mounted(world)
        (upper / "lost").write_text("x")

    in_world(tmp_path, write)
    assert in_world(tmp_path, paths) == []
    assert [one for one in (tmp_path / "views").iterdir() if one.name != "trash"] == []
