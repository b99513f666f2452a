"""Memory files that are used again: when, when not, and what a reader is sure of."""

from __future__ import annotations

import fcntl
import os
from collections import deque

import numpy as np
import pytest

from tests.unit.wire.sending import SIZE, Sent
from volant.wire import arena, payloads
from volant.wire.frames import MAPPED
from volant.wire.stream import LentFd

pytestmark = pytest.mark.usefixtures("nothing_is_kept")


def test_a_file_is_used_again_when_both_have_let_go_of_it():
    first = Sent(1)
    first.settle()
    second = Sent(2)
    assert second.inode != first.inode, "its reader has not let go"
    first.release()
    third = Sent(3)
    assert third.inode == first.inode
    assert third.token != first.token
    second.release()
    fourth = Sent(4)
    assert fourth.inode != second.inode, "its writer may need it once more"
    assert third.read()[-1] == 3
    for sent in (second, third, fourth):
        sent.settle()


@pytest.mark.parametrize("lost", ["by the reader", "by the writer", "closed only"])
def test_a_file_that_is_lost_is_not_used_again(lost: str):
    sent = Sent(1)
    if lost == "by the reader":
        sent.release(reusable=False)
        sent.settle()
    elif lost == "by the writer":
        sent.settle(reusable=False)
    else:
        os.close(sent.fd)
    sent.release()
    again = Sent(2)
    assert again.inode != sent.inode
    again.settle()


def test_a_late_release_is_for_nobody():
    first = Sent(1)
    first.settle()
    first.release()
    second = Sent(2)
    assert second.inode == first.inode
    second.settle()
    first.release()
    third = Sent(3)
    assert third.inode != second.inode
    third.settle()


def test_pools_share_no_files():
    first = Sent(1, pool="one")
    first.settle()
    first.release()
    other = Sent(2, pool="other")
    assert other.inode != first.inode
    other.settle()


def test_a_reader_lets_go_with_its_last_array():
    sent = Sent(7)
    array = sent.read()
    part = array[10:20]
    del array
    assert not sent.releases
    part[0] = 1
    del part
    assert list(sent.releases) == [(sent.token, True)]
    assert sent.read()[10] == 7, "what a reader writes is its own"
    sent.settle()


def test_bytes_are_let_go_of_at_once():
    _, payload, fd = payloads.dumps_arguments((b"x" * SIZE,), {}, "pool")
    lent = LentFd(os.dup(fd))
    lent.releases = deque()
    [value], _ = payloads.loads(MAPPED, payload, lent)
    assert value == b"x" * SIZE
    assert len(lent.releases) == 1
    payloads.close_sent(fd, reusable=True)


def test_a_reader_that_forked_gives_nothing_back():
    sent = Sent(1)
    array = sent.read()
    pid = os.fork()
    if pid == 0:
        del array
        os._exit(len(sent.releases) + arena.holds())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child tells of nothing"
    del array
    assert list(sent.releases) == [(sent.token, False)]
    sent.settle()


def test_only_the_writer_can_write():
    sent = Sent(1)
    with pytest.raises(PermissionError):
        os.pwrite(sent.fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(sent.fd, 0)
    sent.settle()


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, 16, fcntl.F_SEAL_SEAL])
def test_a_file_with_a_token_must_be_sealed(missing: int):
    sent = Sent(1)
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, os.fstat(sent.fd).st_size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, arena.SEALS & ~missing)
    with pytest.raises(ValueError, match="not sealed"):
        payloads.loads(MAPPED, sent.payload, fd)
    sent.settle()


@pytest.mark.parametrize("size", [SIZE, arena.PARALLEL_BYTES_MIN + 4097])
def test_what_is_written_again_is_whole(size: int):
    random = np.random.default_rng(1)
    for round_ in range(4):
        arrays = [random.integers(0, 255, size, dtype=np.uint8) for _ in range(2)]
        arrays.append(np.asfortranarray(random.random((300, 700))))
        _, payload, fd = payloads.dumps(arrays, "pool")
        lent = LentFd(os.dup(fd))
        lent.releases = deque()
        for sent, received in zip(arrays, payloads.loads(MAPPED, payload, lent), strict=True):
            np.testing.assert_array_equal(sent, received)
        del sent, received
        payloads.close_sent(fd, reusable=True)
        tokens = [token for token, _ in lent.releases]
        assert len(tokens) == 1, round_
        payloads.on_released({"tokens": tokens, "lost": []})


def test_idle_files_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arena, "IDLE_BYTES_MAX", 5 * SIZE)
    all_sent = [Sent(value) for value in range(10)]
    for sent in all_sent:
        sent.settle()
        sent.release()
    current = arena.current()
    assert len(current._idle) == 4
    Sent(1, size=3 * SIZE).settle()
    assert current._idle_bytes + 3 * SIZE <= 5 * SIZE


def test_files_that_are_out_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arena, "OUT_COUNT_MAX", 3)
    all_sent = [Sent(value) for value in range(5)]
    for sent in all_sent:
        sent.settle()
        sent.release()
    assert len(arena.current()._idle) == 3
    assert not arena.current()._out


def test_what_is_out_can_be_forgotten():
    sent = Sent(1)
    payloads.forget_lent()
    sent.settle()
    sent.release()
    assert not arena.holds()


def test_a_payload_beyond_the_limit_has_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arena, "FILE_BYTES_MAX", SIZE)
    kind, payload, fd = payloads.dumps(np.zeros(2 * SIZE, dtype=np.uint8), "pool")
    assert type(fd) is int
    assert payloads.token_of(payload) == 0
    assert payloads.loads(kind, payload, fd).sum() == 0


def test_without_memory_for_files_payloads_go_without(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError("no more")

    monkeypatch.setattr(arena, "File", refuse)
    kind, payload, fd = payloads.dumps(np.ones(SIZE, dtype=np.uint8), "pool")
    assert type(fd) is int
    assert payloads.loads(kind, payload, fd).all()


def test_nobody_waits_for_the_books_of_another_thread():
    current = arena.current()
    sent = Sent(1)
    with current._lock:
        sent.release()  # a signal handler may do that while its own thread has the lock
        sent.settle()
    again = Sent(2)
    assert again.inode == sent.inode
    again.settle()
