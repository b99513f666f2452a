"""Mappings that a reader uses again: when, when not, and what its arrays are sure of."""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.unit.wire.sending import SIZE, Sent
from volant.wire import arena, mappings, payloads
from volant.wire.frames import MAPPED
from volant.wire.stream import LentFd

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("nothing_is_kept")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the mappings that were made anew."""
    sizes: list[int] = []
    original = mappings.map_private

    def count(fd: int, size: int) -> Any:
        sizes.append(size)
        return original(fd, size)

    monkeypatch.setattr(mappings, "map_private", count)
    return sizes


def travel(value: int, use: Callable[[Any], object] | None = None, size: int = SIZE) -> int:
    """Send an array, read it, use it, let go of it; returns the inode of its file."""
    sent = Sent(value, size)
    array = sent.read()
    sent.settle()
    assert (array == value).all()
    if use is not None:
        use(array)
    del array
    payloads.on_released({"tokens": [token for token, _ in sent.releases], "lost": []})
    return sent.inode


def test_the_mapping_of_a_file_that_comes_again_is_used_again(made: list[int]):
    inodes = {travel(value) for value in range(8)}
    assert len(inodes) == 1
    assert len(made) == 2, "the first one was not kept, the second one for all others"


def test_what_is_read_once_is_freed_with_its_last_array(made: list[int]):
    travel(1)
    assert not mappings.holds()


def test_a_mapping_that_was_written_to_is_not_used_again(made: list[int]):
    def write(array: Any) -> None:
        array[-1] = 77

    for value in range(3):
        travel(value, write)
    assert len(made) == 3
    assert not mappings.holds(), "who writes once writes again: nothing is kept for them"
    travel(5)


@pytest.mark.parametrize("where", [0, 4096, SIZE // 2, SIZE - 1])
def test_one_written_byte_is_found(made: list[int], where: int):
    def write(array: Any) -> None:
        array[where] = 200

    for value in (1, 2):
        travel(value)
    travel(3, write)
    travel(4)
    assert len(made) == 3


def test_a_page_that_was_never_read_is_no_reason_to_map_anew(made: list[int]):
    for value in range(4):
        sent = Sent(value)
        array = sent.read()
        sent.settle()
        assert array[0] == value
        del array
        payloads.on_released({"tokens": [sent.token], "lost": []})
    assert len(made) == 2


def test_an_array_that_lives_on_keeps_its_mapping(made: list[int]):
    for value in (1, 2):
        travel(value)
    sent = [Sent(3), Sent(4)]
    kept, other = (one.read() for one in sent)
    assert len(made) == 3
    other[:] = 9
    assert (kept == 3).all()
    for one in sent:
        one.settle()


def test_a_view_is_as_good_as_the_array(made: list[int]):
    for value in (1, 2):
        travel(value)
    sent = Sent(3)
    part = sent.read()[100:200:7]
    sent.settle()
    assert not sent.releases
    assert not mappings.holds()
    assert (part == 3).all()


def test_a_kernel_that_does_not_tell_has_every_file_mapped_anew(
    made: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mappings, "_PAGEMAP", "/proc/self/no-such-file")
    for value in range(4):
        travel(value)
    assert len(made) == 4


def test_a_kernel_that_tells_less_has_every_file_mapped_anew(
    made: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mappings, "_PAGEMAP", os.devnull)
    for value in range(4):
        travel(value)
    assert len(made) == 4


def test_a_kept_mapping_of_another_size_is_not_used(made: list[int]):
    """The number of a file may come again, after four billion others."""
    for value in (1, 2):
        travel(value)
    [mapping] = mappings._kept
    mapping.size -= 4096
    travel(3)
    assert len(made) == 3


def test_another_thread_that_looks_for_one_is_not_waited_for(made: list[int]):
    for value in (1, 2):
        travel(value)
    with mappings._lock:  # so would a signal handler find it
        travel(3)
        mappings.clear()
    assert len(made) == 3
    assert mappings.holds()


def test_kept_mappings_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mappings, "KEPT_COUNT_MAX", 3)
    for size in range(SIZE, 9 * SIZE, SIZE):
        travel(1, size=size)
        travel(1, size=size)
    travel(1)
    assert len(mappings._kept) <= 3
    monkeypatch.setattr(mappings, "KEPT_BYTES_MAX", 2 * SIZE)
    travel(1)
    assert sum(mapping.size for mapping in mappings._kept) <= 2 * SIZE


def test_many_arrays_that_go_at_once_leave_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
):
    """Without another file that comes."""
    monkeypatch.setattr(mappings, "KEPT_COUNT_MAX", 3)
    sizes = range(SIZE, 9 * SIZE, SIZE)
    for size in sizes:
        travel(1, size=size)
    sent = [Sent(1, size) for size in sizes]
    arrays = [one.read() for one in sent]
    arrays.clear()
    assert len(mappings._kept) == 3
    assert not mappings._ended
    for one in sent:
        one.settle()


def test_what_nobody_used_for_long_is_undone(monkeypatch: pytest.MonkeyPatch):
    for value in (1, 2, 3):
        travel(value)
    monkeypatch.setattr(mappings, "KEPT_S_MAX", -1.0)
    travel(1, size=3 * SIZE)
    assert not mappings._kept
    assert not mappings.holds()


def test_files_that_came_once_are_forgotten_in_time():
    for size in range(SIZE, SIZE + 8192 * mappings._KNOWN_MAX, 8192):
        sent = Sent(1, size)
        sent.read()
        sent.settle()
    assert len(mappings._known) == mappings._KNOWN_MAX


def test_a_fork_takes_no_kept_mapping_along(made: list[int]):
    for value in (1, 2):
        travel(value)
    pid = os.fork()
    if pid == 0:
        os._exit(mappings.holds())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    travel(3)
    assert len(made) == 2, "no array of the child is of it"


def test_a_mapping_that_a_child_reads_is_not_kept(made: list[int]):
    for value in (1, 2):
        travel(value)
    sent = Sent(3)
    array = sent.read()
    pid = os.fork()
    if pid == 0:
        os._exit(int(array[-1]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    del array
    assert not mappings.holds()
    sent.settle()


def test_a_process_with_many_descriptors_copies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mappings, "map_private", lambda *_: None)
    sent = Sent(7)
    array = sent.read()
    assert list(sent.releases) == [(sent.token, True)]
    assert (array == 7).all()
    sent.settle()


def test_a_copy_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mappings, "map_private", lambda *_: None)
    monkeypatch.setattr(mappings, "_READ_BYTES_MAX", 100_000)
    sent = Sent(7)
    assert (sent.read() == 7).all()
    sent.settle()


def exchange(seed: int, rounds: int) -> None:
    """Arrays that come, are kept for a while, written to or not, and go, in any order."""
    rng = random.Random(seed)
    alive: list[tuple[Any, Any, deque[tuple[int, bool]]]] = []
    for _ in range(rounds):
        expected = np.full(rng.choice((SIZE, SIZE + 4096, 2 * SIZE)), rng.randrange(256), np.uint8)
        _, payload, fd = payloads.dumps(expected, f"pool {seed}")
        lent = LentFd(os.dup(fd))
        lent.releases = deque()
        array = payloads.loads(MAPPED, payload, lent)
        payloads.close_sent(fd, reusable=True)
        np.testing.assert_array_equal(array, expected)
        for _ in range(rng.choice((0, 0, 0, 1, 3))):
            where = rng.randrange(len(array))
            array[where] = expected[where] = rng.randrange(256)
        alive.append((array, expected, lent.releases))
        del array
        while alive and rng.random() < 0.6:
            held, meant, releases = alive.pop(rng.randrange(len(alive)))
            np.testing.assert_array_equal(held, meant)
            del held
            payloads.on_released({"tokens": [token for token, _ in releases], "lost": []})


@pytest.mark.parametrize("seed", range(4))
def test_arrays_are_what_was_sent_whatever_is_used_again(seed: int):
    exchange(seed, 150)
    assert arena.holds()


def test_threads_that_read_at_once_see_each_their_own():
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            exchange(seed, 60)
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
