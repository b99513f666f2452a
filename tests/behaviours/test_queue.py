"""`Queue`: first in, first out, on the disk, shared by programs and containers."""

from __future__ import annotations

import asyncio
import queue as plain
import threading
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import storing
from tests.support import eventually
from volant.errors import InvalidError, NotFoundError, RequestSizeError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def line() -> Iterator[volant.Queue]:
    with volant.Queue.ephemeral() as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    with storing.app.run():
        yield


class Thread(threading.Thread):
    """Runs something that blocks, and keeps what it gave or raised."""

    def __init__(self, work: Any) -> None:
        super().__init__()
        self.work = work
        self.found: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.found = self.work()
        except Exception as error:  # noqa: BLE001  # whatever it raises is what the test looks at
            self.found = error

    def result(self) -> Any:
        self.join(30)
        assert not self.is_alive()
        return self.found


def test_getting(line: volant.Queue) -> None:
    """Behaviour 104."""
    assert line.get(block=False) is None
    assert line.get_many(3, block=False) == []
    with pytest.raises(plain.Empty):
        line.get(timeout=0)
    with pytest.raises(plain.Empty):
        line.get_many(3, timeout=0.01)
    waiting = Thread(line.get)
    line.put("a")
    assert waiting.result() == "a"
    line.put_many(range(5))
    assert line.len() == len(line) == 5
    assert line.get_many(3) == [0, 1, 2]
    assert line.get_many(100) == [3, 4]
    line.put(None)
    assert line.get_many(1) == [None]
    with pytest.raises(InvalidError, match="a number of values from 1 on"):
        line.get_many(0)


def test_a_full_queue(line: volant.Queue) -> None:
    """Behaviour 105."""
    line.put_many(range(5000))
    for refused in (
        lambda: line.put(1, block=False), lambda: line.put(1, timeout=0.01),
        lambda: line.put_many([1, 2], block=False), lambda: line.put_many(range(5001), False),
    ):  # fmt: skip
        with pytest.raises(plain.Full):
            refused()
    waiting = Thread(lambda: line.put("later"))
    assert line.get() == 0
    assert waiting.result() is None
    assert line.get_many(5000) == [*range(1, 5000), "later"]
    with pytest.raises(RequestSizeError, match="at most 1048576"):
        line.put(bytes(1 << 20))
    with pytest.raises(SerializationError, match=r"a value for <volant\.Queue"):
        line.put(at for at in "ab")


def test_more_than_a_partition_holds_goes_in_as_there_is_room(line: volant.Queue) -> None:
    waiting = Thread(lambda: line.put_many(range(12_000)))
    found: list[int] = []
    while len(found) < 12_000:
        found += line.get_many(1000)
    assert waiting.result() is None
    assert found == list(range(12_000))


def test_looking_at_values(line: volant.Queue) -> None:
    """Behaviour 106: nothing is removed, and it ends when nothing came for a while."""
    assert list(line.iterate()) == []
    line.put_many(range(2500))
    assert list(line.iterate()) == list(range(2500))
    late = Thread(lambda: list(line.iterate(item_poll_timeout=1.0)))
    eventually(lambda: not late.is_alive() or line.put(-1) is None)
    assert late.result()[:2501] == [*range(2500), -1]
    assert line.get_many(2500) == list(range(2500))


def test_partitions(line: volant.Queue) -> None:
    """Behaviour 106."""
    line.put(1)
    line.put_many([2, 3], partition="a", partition_ttl=60)
    assert (line.len(), line.len(partition="a"), line.len(total=True)) == (1, 2, 3)
    assert line.get(partition="a") == 2
    assert list(line.iterate(partition="a")) == [3]
    line.clear(partition="a")
    assert line.get(partition="a", block=False) is None
    line.clear(all=True)
    assert line.len(total=True) == 0
    for wrong in ("", "p" * 65, "\0", 3):
        with pytest.raises(InvalidError, match="cannot be a partition"):
            line.put(1, partition=wrong)  # type: ignore[arg-type]  # which is what is tested
    for use in (
        lambda: line.len(partition="a", total=True),
        lambda: line.clear(partition="a", all=True),
    ):
        with pytest.raises(InvalidError, match="either a partition"):
            use()
    with pytest.raises(InvalidError, match="partition_ttl=0"):
        line.put(1, partition_ttl=0)
    with pytest.raises(InvalidError, match="timeout=-1"):
        line.get(timeout=-1)


def test_all_of_it_is_awaited_as_well(line: volant.Queue) -> None:
    async def use() -> None:
        waiting = asyncio.create_task(line.get.aio())
        await asyncio.gather(*(line.put.aio(at) for at in range(20)))
        found = {await waiting, *await line.get_many.aio(100)}
        assert found == set(range(20))
        await line.put_many.aio([1, 2])
        assert [value async for value in line.iterate.aio()] == [1, 2]
        assert await line.len.aio() == 2
        await line.clear.aio()
        with pytest.raises(plain.Empty):
            await line.get.aio(timeout=0)

    asyncio.run(use())


def test_a_getter_that_is_given_up_takes_nothing(line: volant.Queue) -> None:
    async def use() -> None:
        tasks = [asyncio.create_task(line.get.aio()) for _ in range(20)]
        await asyncio.sleep(0)
        await line.put.aio("a")
        for task in tasks[1:]:
            task.cancel()
        assert await tasks[0] == "a"
        await asyncio.gather(*tasks, return_exceptions=True)
        await line.put.aio("b")
        assert await line.get.aio() == "b"

    asyncio.run(use())


def test_twenty_getters_at_once(line: volant.Queue) -> None:
    """Behaviour 142: in threads of one process, each gets one."""
    getters = [Thread(line.get) for _ in range(20)]
    line.put_many(range(20))
    assert sorted(getter.result() for getter in getters) == list(range(20))


@pytest.mark.usefixtures("running")
def test_containers_share_them(line: volant.Queue) -> None:
    """Behaviours 135, 136: blocked there, put here, and the other way round."""
    with volant.Queue.ephemeral() as done:
        call = storing.move.spawn(line, done, 2)
        line.put_many(["a", "b"])
        assert done.get_many(2) == ["a", "b"]
        assert call.get() == ["a", "b"]
        call = storing.move_async.spawn(line, done)
        line.put({"queue": line})
        assert done.get()["queue"].object_id == line.object_id
        assert call.get()["queue"].len() == 0


def test_names() -> None:
    """Behaviours 88, 98, 99, 103."""
    with pytest.raises(NotFoundError, match="there is no queue 'not-there'"):
        volant.Queue.from_name("not-there").put(1)
    with pytest.raises(InvalidError, match="cannot be the name of a Queue"):
        volant.Queue.from_name("a b")
    named = volant.Queue.from_name("work", create_if_missing=True)
    named.put(1)
    assert "work" in [one.name for one in volant.Queue.objects.list()]
    assert volant.Queue.from_name("work").get() == 1
    volant.Queue.objects.delete("work")
    with pytest.raises(NotFoundError):
        named.put(1)
    with volant.Queue.ephemeral() as ended:
        ended.put(1)
    with pytest.raises(NotFoundError):
        ended.get()
