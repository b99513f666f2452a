"""Memory files are used again, and nobody's array ever changes because of it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.behaviours.apps import recycling
from tests.support import eventually
from volant.errors import InternalFailure
from volant.wire import arena, mappings, payloads

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 3 << 20


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    with recycling.app.run():
        yield
    payloads.clear_memory()


@pytest.fixture
def sent_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inode of each file that this process has sent."""
    inodes: list[int] = []
    lend = arena.Arena.lend

    def note(self: arena.Arena, pieces: Any, size: int, pool: str) -> Any:
        sent = lend(self, pieces, size, pool)
        assert sent is not None
        inodes.append(os.fstat(sent).st_ino)
        return sent

    monkeypatch.setattr(arena.Arena, "lend", note)
    return inodes


def of(value: int, size: int = SIZE) -> Any:
    return np.full(size, value % 251, dtype=np.uint8)


def assert_is(array: Any, value: int) -> None:
    assert (int(array.min()), int(array.max())) == (value % 251, value % 251)


def test_files_are_used_again(sent_files: list[int]) -> None:
    """Issue 2, 8: arguments go through few files, however many calls."""
    for value in range(20):
        assert_is(recycling.echo.remote(of(value)), value)
    assert len(set(sent_files)) <= 3


def test_the_files_of_results_are_used_again() -> None:
    """Issue 2, 8: seen from here by their inodes."""
    inodes = []
    for value in range(20):
        result = recycling.fill.remote(SIZE, value)
        assert_is(result, value)
        maps = Path("/proc/self/maps").read_text().splitlines()
        inodes += [line.split()[4] for line in maps if "volant-payload" in line]
        del result
    assert 1 <= len(set(inodes)) <= 3


def test_an_array_that_a_container_keeps_stays_as_it_was() -> None:
    """Issue 2, 8: whatever comes after it."""
    for value in range(12):
        seen = recycling.keep_and_show.remote(of(value))
        assert seen == [(each, each) for each in range(value + 1)]


def test_an_array_that_the_client_keeps_stays_as_it_was() -> None:
    """Issue 2, 8: some kept, some not."""
    kept = {}
    for value in range(30):
        result = recycling.echo.remote(of(value))
        if value % 3:
            kept[value] = result
        del result
    for value, array in kept.items():
        assert_is(array, value)


def test_a_part_of_an_array_keeps_all_of_it() -> None:
    """Issue 2, 8: a view is a reader too."""
    part = recycling.echo.remote(of(1))[100:200]
    for value in range(2, 10):
        recycling.echo.remote(of(value))
    assert_is(part, 1)


def test_what_a_failed_attempt_kept_stays_as_it_was(tmp_path: Path) -> None:
    """Issue 2, 8 and 22: an input that ran twice has two readers."""
    marker = f"/tmp/{tmp_path.name}"
    for value in range(12):
        seen = recycling.keep_and_fail_first.remote(of(value), marker)
        assert all(low == high for low, high in seen)
        assert seen[-1] == (value, value)
        assert len({low for low, _ in seen}) >= len(seen) - 1, "only the retried one may be twice"


def test_a_container_that_dies_gives_nothing_back(sent_files: list[int]) -> None:
    """Issue 2, 8: what it had is closed and not used again."""
    kept = [recycling.echo.remote(of(value)) for value in range(3)]
    with pytest.raises(InternalFailure):
        recycling.die.remote(of(3))
    last = sent_files[-1]
    for value in range(10):
        assert_is(recycling.echo.remote(of(value)), value)
    assert last not in sent_files[4:]
    for value, array in enumerate(kept):
        assert_is(array, value)


def test_maps_of_arrays() -> None:
    """Issue 2, 8: many files are out at the same time; some results are kept."""
    kept = []
    for value, array in enumerate(recycling.echo.map([of(each) for each in range(60)])):
        assert_is(array, value)
        if value % 7 == 0:
            kept.append((value, array))
    for _ in range(2):
        for array in recycling.echo.map([of(200)] * 20, order_outputs=False):
            assert_is(array, 200)
    for value, array in kept:
        assert_is(array, value)


def test_threads_share_the_files() -> None:
    """Issue 2, 8: nobody gets what is another's."""

    def call(value: int) -> None:
        assert_is(recycling.echo.remote(of(value)), value)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, range(80)))


def test_a_child_of_a_container_still_sees_its_array() -> None:
    """Issue 2, 8: the parent has let go of it, the child has not."""
    path = f"/tmp/{os.urandom(8).hex()}"
    recycling.fork_echo.remote(of(77), path, 1.0)
    for value in range(20):
        assert_is(recycling.fork_echo.remote(of(value)), value)
    seen = eventually(lambda: recycling.fork_echo.remote(None, path))
    assert seen == "77 77"


def test_a_child_of_the_client_still_sees_its_array() -> None:
    """Issue 2, 8: and writes to none of the files."""
    array = recycling.echo.remote(of(88))
    read, write = os.pipe()
    again, go_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(again, 1)
        os.write(write, bytes([int(array.min()), int(array.max()), arena.holds()]))
        os._exit(0)
    del array
    for value in range(10):
        assert_is(recycling.echo.remote(of(value)), value)
    os.write(go_on, b"x")
    assert os.read(read, 3) == bytes([88, 88, 0])
    os.waitpid(pid, 0)
    for fd in (read, write, again, go_on):
        os.close(fd)


def test_results_that_the_hub_keeps_stay_as_they_were() -> None:
    """Issue 2, 8: a spawned call may be asked again at any time."""
    calls = [recycling.fill.spawn(SIZE, value) for value in range(6)]
    for value, call in enumerate(calls):
        assert_is(call.get(), value)
    for value in range(10):
        assert_is(recycling.fill.remote(SIZE, 100 + value), 100 + value)
    for value, call in enumerate(calls):
        assert_is(call.get(), value)


def test_containers_that_call_recycle_too() -> None:
    """Issue 2, 8: arguments of nested calls."""
    assert recycling.nest.remote(SIZE, 10) == [value * SIZE for value in range(10)]


def test_descriptors_do_not_add_up() -> None:
    """Issue 2, 8: five hundred calls of many sizes, results kept for a while."""
    kept: list[Any] = []
    counts = []
    for value in range(500):
        kept.append(recycling.echo.remote(of(value, (1 << 20) + 4096 * (value % 40 + 1) ** 2)))
        assert_is(kept[-1], value)
        del kept[:-3]
        counts.append(len(os.listdir("/proc/self/fd")))
    bound = 2 * (arena.IDLE_COUNT_MAX + 6) + mappings.KEPT_COUNT_MAX
    assert max(counts) - counts[0] <= bound
    kept.clear()
    payloads.clear_memory()
    assert len(os.listdir("/proc/self/fd")) <= counts[0]
