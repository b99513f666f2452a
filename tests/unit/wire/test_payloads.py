"""Payloads: inline pickles, buffers in sealed memory files, and files that are not trusted."""

from __future__ import annotations

import _thread
import fcntl
import os
import pickle
from collections import OrderedDict
from pickle import PickleBuffer
from struct import pack

import numpy as np
import pytest

from tests.support import same
from volant.wire import mappings, payloads
from volant.wire.frames import INLINE_BYTES_MAX, MAPPED, PICKLE, YIELD

BIG = payloads.BUFFER_BYTES_MIN


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _no_descriptor_is_left():
    before = len(open_fds())
    yield
    assert len(open_fds()) == before


def round_trip(value: object) -> object:
    return payloads.loads(*payloads.dumps(value))


@pytest.mark.parametrize(
    "value", [None, True, 1 << 70, 1.5, "text", [1, {"a": (2,)}], OrderedDict(a=1), b"x" * 1000]
)
def test_small_values_travel_inline(value: object):
    kind, _, fd = payloads.dumps(value)
    assert (kind, fd) == (PICKLE, None)
    assert round_trip(value) == value


def test_arguments_travel_as_their_pair():
    for args, kwargs in [((), {}), ((1, None, 2.5), {}), (("a",), {}), ((1,), {"k": 2})]:
        assert payloads.loads(*payloads.dumps_arguments(args, kwargs)) == (args, kwargs)


def test_a_lambda_and_a_local_class_travel_by_value():
    class Local:
        number = 3

    again = round_trip((lambda x: x + 1, Local))
    assert isinstance(again, tuple)
    assert again[0](1) == 2
    assert again[1].number == 3


def test_what_cannot_be_pickled_raises_its_own_error():
    with pytest.raises(TypeError, match="pickle"):
        payloads.dumps(_thread.allocate_lock())


def test_main_goes_by_value_when_a_session_is_interactive(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payloads, "pickles_main_by_value", True)
    assert round_trip([1]) == [1]


def test_a_large_value_without_buffers_is_mapped():
    value = "x" * (INLINE_BYTES_MAX + 1)
    kind, payload, fd = payloads.dumps(value)
    assert kind == MAPPED
    assert len(payload) == 4 + 16
    assert payloads.loads(kind, payload, fd) == value


def test_arrays_arrive_equal_aligned_and_writable():
    arrays = [np.arange(BIG, dtype=dtype) for dtype in ("u1", "f4", "f8", "c16")]
    arrays.append(np.asfortranarray(np.arange(1 << 16, dtype="f8").reshape(256, 256)))
    again = round_trip({"arrays": arrays, "small": np.arange(3)})
    assert isinstance(again, dict)
    for sent, received in zip(arrays, again["arrays"], strict=True):
        assert np.array_equal(sent, received)
        assert sent.dtype == received.dtype
        assert sent.flags.f_contiguous == received.flags.f_contiguous
        assert received.__array_interface__["data"][0] % 64 == 0
        received[...] = 0  # the receiver's own, and the sender's stays
    assert arrays[0][1] == 1


def test_buffers_that_fit_a_frame_go_inline():
    kind, _, fd = payloads.dumps(np.zeros(BIG, dtype="u1"))
    assert (kind, fd) == (PICKLE, None)


def test_buffers_do_not_mix_when_the_first_pickler_gives_up():
    """A lambda between two arrays: the C pickler has handed out a buffer before it fails."""
    first = np.full(INLINE_BYTES_MAX, 1, dtype="u1")
    second = np.full(INLINE_BYTES_MAX, 2, dtype="u1")
    kind, payload, fd = payloads.dumps([first, lambda: None, second])
    assert len(payload) == 4 + 16 * 3, "the pickle and two buffers"
    again = payloads.loads(kind, payload, fd)
    assert (again[0][0], again[2][0]) == (1, 2)


def test_more_buffers_than_a_table_holds_go_into_the_pickle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payloads, "BUFFER_COUNT_MAX", 3)
    arrays = [np.full(INLINE_BYTES_MAX, number, dtype="u1") for number in range(4)]
    kind, payload, fd = payloads.dumps(arrays)
    assert len(payload) == 4 + 16 * 3
    again = payloads.loads(kind, payload, fd)
    assert [array[0] for array in again] == [0, 1, 2, 3]


def test_a_buffer_of_several_dimensions_is_written_flat():
    view = memoryview(bytearray(range(256)) * 8192).cast("B", (2048, 1024))
    kind, payload, fd = payloads.dumps(PickleBuffer(view))
    again = payloads.loads(kind, payload, fd)
    assert bytes(again) == view.tobytes()


def test_the_file_cannot_change_once_it_is_sent():
    _, _, fd = payloads.dumps(np.zeros(INLINE_BYTES_MAX, dtype="f8"))
    assert fd is not None
    try:
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def test_a_failure_while_writing_leaves_no_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payloads, "_SEALS", 1 << 20)
    with pytest.raises(OSError, match="Invalid"):
        payloads.dumps("x" * (INLINE_BYTES_MAX + 1))


def test_writes_go_on_where_the_kernel_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payloads, "_WRITE_BYTES_MAX", 100_000)
    value = os.urandom(INLINE_BYTES_MAX + 1)
    assert same(round_trip(value), value)


def test_arrays_that_are_kept_do_not_exhaust_the_descriptors():
    kept = [round_trip(np.full(INLINE_BYTES_MAX, 7, dtype="u1")) for _ in range(3)]
    first = os.open(os.devnull, os.O_RDONLY)
    many = [os.dup(first) for _ in range(mappings.FDS_OPEN_MAX)]
    before = len(open_fds())
    kept += [round_trip(np.full(INLINE_BYTES_MAX, 7, dtype="u1")) for _ in range(20)]
    assert len(open_fds()) == before
    assert all(array[-1] == 7 for array in kept)
    for fd in (first, *many):
        os.close(fd)


# -- what a stranger may send


def sealed(content: bytes = bytes(4096), seals: int | None = None) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, payloads._SEALS if seals is None else seals)
    return fd


def table(*entries: tuple[int, int], count: int | None = None) -> bytes:
    rows = b"".join(pack("<QQ", *entry) for entry in entries)
    return pack("<I", len(entries) if count is None else count) + rows


TABLES = {
    "empty": b"",
    "short": b"\x01\x00",
    "no buffers": table(),
    "more announced": table((0, 16), count=2),
    "fewer announced": table((0, 16), (0, 16), count=1),
    "too many": table((0, 16), count=payloads.BUFFER_COUNT_MAX + 1),
    "beyond the end": table((0, 4097)),
    "starts beyond the end": table((1 << 40, 1)),
    "wraps around": table(((1 << 64) - 1, 2)),
}


@pytest.mark.parametrize("payload", TABLES.values(), ids=TABLES)
def test_a_table_that_does_not_fit_its_file_is_refused(payload: bytes):
    with pytest.raises(ValueError):
        payloads.loads(MAPPED, payload, sealed())


@pytest.mark.parametrize(
    "seals", [0, fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE, payloads._SEALS & ~fcntl.F_SEAL_SEAL]
)
def test_a_file_that_is_not_sealed_is_refused(seals: int):
    with pytest.raises(ValueError, match="not sealed"):
        payloads.loads(MAPPED, table((0, 16)), sealed(seals=seals))


def test_a_truncated_file_is_refused():
    kind, payload, fd = payloads.dumps("x" * (INLINE_BYTES_MAX + 1))
    assert fd is not None
    os.close(fd)
    with pytest.raises(ValueError, match="in a file of 4096"):
        payloads.loads(kind, payload, sealed())


def test_an_empty_file_is_refused():
    with pytest.raises(ValueError):
        payloads.loads(MAPPED, table((0, 0)), sealed(b""))


def test_a_pipe_is_no_mapped_file():
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(ValueError, match="cannot be mapped"):
        payloads.loads(MAPPED, table((0, 1)), read)


def test_a_mapped_payload_without_its_file_is_refused():
    with pytest.raises(ValueError, match="without its file"):
        payloads.loads(MAPPED, table((0, 1)), None)


@pytest.mark.parametrize("kind", [PICKLE, YIELD, 15])
def test_a_file_that_belongs_to_nothing_is_closed(kind: int):
    with pytest.raises(ValueError, match=f"kind {kind}"):
        payloads.loads(kind, pickle.dumps(1), sealed())


def test_a_pickle_that_fails_leaves_no_descriptor():
    with pytest.raises(pickle.UnpicklingError):
        payloads.loads(MAPPED, table((0, 16)), sealed(b"no pickle at all" + bytes(4080)))
