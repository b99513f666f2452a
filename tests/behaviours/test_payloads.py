"""Arguments and results of any size and kind: inline, mapped, arrays, and what cannot travel."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.behaviours.apps import carrying
from tests.support import same
from volant.errors import SerializationError
from volant.wire import payloads
from volant.wire.frames import INLINE_BYTES_MAX
from volant.wire.payloads import BUFFER_BYTES_MIN

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a pickle of bytes adds to them, roughly.
MARGIN = 64


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with carrying.app.run():
        yield


@pytest.fixture
def _no_descriptor_is_left() -> Iterator[None]:
    """Mapped payloads travel as descriptors, and each is closed in the end."""
    carrying.echo.remote(0)
    payloads.clear_memory()
    before = len(os.listdir("/proc/self/fd"))
    yield
    payloads.clear_memory()  # what waits to be used again is no leak
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("_no_descriptor_is_left")
@pytest.mark.parametrize(
    "size",
    [
        0, 1, BUFFER_BYTES_MIN - 1, BUFFER_BYTES_MIN, BUFFER_BYTES_MIN + 1,
        INLINE_BYTES_MAX - MARGIN, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1,
        INLINE_BYTES_MAX + MARGIN, 16 << 20,
    ],
)  # fmt: skip
def test_sizes_around_the_limit_of_inline_payloads(size: int) -> None:
    """Behaviour 10; issue 2, 8: there and back, as bytes and as a bytearray."""
    value = os.urandom(size)
    assert same(carrying.echo.remote(value), value)
    assert same(carrying.echo.remote(bytearray(value)), value)


@pytest.mark.usefixtures("_no_descriptor_is_left")
def test_large_inputs_and_results_of_a_map() -> None:
    """Issue 2, 8: inline and mapped ones mixed, each back in its place."""
    values = [os.urandom(size) for size in (10, 2 << 20, 0, 3 << 20, INLINE_BYTES_MAX, 100)]
    assert list(carrying.echo.map(values)) == values
    expected = [hashlib.sha256(value).hexdigest() for value in values]
    assert list(carrying.digest.map(values)) == expected


@pytest.mark.usefixtures("_no_descriptor_is_left")
def test_a_map_goes_on_when_its_window_shrinks_upon_inputs_not_yet_sent() -> None:
    """Issue 2, 8: a large input closes a chunk early, large results leave little room after it."""
    values = [bytes(2 * INLINE_BYTES_MAX), *[bytes(INLINE_BYTES_MAX // 2)] * 400]
    assert list(carrying.echo.map(values)) == values


def test_few_large_inputs_of_a_list_are_under_way_at_once() -> None:
    """Issue 2, 8: their files are room in memory, and descriptors."""
    results = carrying.digest.map([bytes(2 * INLINE_BYTES_MAX)] * 200)
    next(results)
    assert _files_count() < 100
    assert len(list(results)) == 199


def _files_count() -> int:
    files = [Path(entry.path) for entry in os.scandir("/proc/self/fd")]
    return sum("volant-payload" in str(file.readlink()) for file in files if file.is_symlink())


@pytest.mark.usefixtures("_no_descriptor_is_left")
def test_large_values_of_a_generator() -> None:
    """Issue 2, 8: each travels as its own mapped file."""
    values = list(carrying.yield_large.remote_gen(2 << 20, 5))
    assert [(len(value), value[0], value[-1]) for value in values] == [
        (2 << 20, number, number) for number in range(5)
    ]


@pytest.mark.usefixtures("_no_descriptor_is_left")
def test_large_results_of_spawned_calls_may_be_fetched_twice() -> None:
    """Issue 2, 8: the hub keeps the file."""
    value = os.urandom(2 << 20)
    call = carrying.echo.spawn(value)
    assert same(call.get(), value)
    assert same(call.get(), value)


def test_keyword_arguments_may_be_large() -> None:
    """Issue 2, 8: position and keyword alike."""
    assert carrying.size_of.remote(bytes(2 << 20), keyword=bytes(3 << 20)) == 5 << 20


def test_large_exceptions_arrive() -> None:
    """Issue 2, 8: their text too."""
    with pytest.raises(ValueError, match=r"^x+$") as caught:
        carrying.raise_large.remote(2 << 20)
    assert len(str(caught.value)) == 2 << 20


def available_bytes() -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


@pytest.mark.slow
@pytest.mark.usefixtures("_no_descriptor_is_left")
def test_two_gib_travel() -> None:
    """Issue 2, 8: beyond what 31 bits count: bytes as an argument, an array as a result."""
    if available_bytes() < 8 << 30:
        pytest.skip("less than 8 GiB of memory are free")
    size = (2 << 30) + 1
    assert carrying.size_of.remote(bytes(size)) == size
    assert len(carrying.make_array.remote(size)) == size


ARRAYS = {
    "small": np.arange(10),
    "C": np.arange(300_000, dtype=np.float64).reshape(300, 1000),
    "Fortran": np.asfortranarray(np.arange(300_000, dtype=np.float64).reshape(300, 1000)),
    "strided": np.arange(600_000, dtype=np.int32)[::2],
    "reversed": np.arange(300_000)[::-1],
    "transposed": np.arange(300_000, dtype=np.int16).reshape(3, 100, 1000).transpose(2, 0, 1),
    "zero-size": np.empty((0, 7), dtype=np.float32),
    "scalar": np.array(3.5),
    "strings": np.array(["a", "bcd"]),
    "structured": np.zeros(50_000, dtype=[("x", "i4"), ("y", "f8")]),
    "booleans": np.ones(2 << 20, dtype=bool),
    "read-only": np.frombuffer(bytes(2 << 20), dtype=np.uint8),
}


@pytest.mark.usefixtures("_no_descriptor_is_left")
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_arrive_as_they_were(kind: str) -> None:
    """Issue 2, 8: dtype, shape and order; inline or mapped."""
    array = ARRAYS[kind]
    back = carrying.echo.remote(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        assert back.flags.f_contiguous


def test_the_order_of_an_array_is_seen_remotely() -> None:
    """Issue 2, 8: in the container as here."""
    for kind in ("C", "Fortran"):
        dtype, shape, in_c, in_fortran, _, total = carrying.describe_array.remote(ARRAYS[kind])
        assert (dtype, shape, in_c) == ("float64", (300, 1000), kind == "C")
        assert in_fortran == (kind == "Fortran")
        assert total == float(ARRAYS[kind].sum())


def test_arrays_of_objects_arrive() -> None:
    """Issue 2, 8: what they hold is pickled one by one."""
    array = np.array([1, "two", None, {"three": 3}], dtype=object)
    assert carrying.echo.remote(array).tolist() == array.tolist()


@pytest.mark.usefixtures("_no_descriptor_is_left")
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_arrays_arrive_writable(size: int) -> None:
    """Issue 2, 8: there and here; writing there does not write here."""
    array = np.zeros(size)
    back = carrying.write_to.remote(array)
    assert (back[0], array[0]) == (99, 0)
    back[1] = 7
    assert back[1] == 7


def test_several_large_arrays_in_one_structure() -> None:
    """Issue 2, 8: each keeps its place; one that occurs twice stays one."""
    first, second = np.arange(200_000), np.ones((500, 500))
    back: Any = carrying.echo.remote({"a": [first, second], "again": first})
    np.testing.assert_array_equal(back["a"][0], first)
    np.testing.assert_array_equal(back["a"][1], second)
    assert back["again"] is back["a"][0]


def test_an_argument_that_cannot_be_pickled_is_named() -> None:
    """Issue 2, 8: by position or keyword, before anything is sent."""
    with pytest.raises(SerializationError, match=r"argument 1 of `echo`.*lock"):
        carrying.echo.remote(1, threading.Lock())
    with pytest.raises(SerializationError, match=r"argument `value` of `echo`.*generator"):
        carrying.echo.remote(value=(number for number in range(3)))


def test_an_argument_of_a_map_that_cannot_be_pickled_is_named() -> None:
    """Issue 2, 8: in the map family too, with its input; the results before it are not lost."""
    results = carrying.echo.map(iter([1, threading.Lock()]))
    assert next(results) == 1
    with pytest.raises(SerializationError, match="argument 0 of `echo`, at index 1 of its inputs,"):
        next(results)
    with pytest.raises(SerializationError, match="argument `value` of `echo`"):
        carrying.echo.spawn(value=threading.Lock())


def test_a_result_that_cannot_be_pickled_is_told_with_its_function_and_type() -> None:
    """Issue 2, 8: the function ran; its caller hears why there is nothing to have."""
    with pytest.raises(
        SerializationError, match="result of `return_opaque`, of type Opaque, cannot"
    ):
        carrying.return_opaque.remote()


def test_functions_and_local_classes_travel() -> None:
    """Issue 2, 8: what plain pickle refuses goes by cloudpickle, both ways."""
    offset = 5

    class Local:
        number = 3

    assert carrying.echo.remote(lambda value: value + offset)(1) == 6
    assert carrying.echo.remote(Local()).number == 3
