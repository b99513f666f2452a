"""`@volant.batched`: who is taken together, and what each caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import batching
from tests.behaviours.programs import has_printed
from tests.support import eventually
from volant.errors import InputCancellation, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with batching.app.run():
        yield


def test_a_full_batch_goes_at_once() -> None:
    """Behaviour 53: lists in, a list out, and each caller its own; of one map or several calls."""
    assert list(batching.whole.map(range(8))) == [(value, 4) for value in range(8)]
    calls = [batching.whole.spawn(value) for value in range(4)]
    assert [call.get() for call in calls] == [(value, 4) for value in range(4)]


def test_a_partial_batch_goes_when_its_window_closes() -> None:
    """Behaviour 53."""
    assert batching.partial.remote(7) == (7, 1)
    assert list(batching.partial.map([1, 2, 3])) == [(1, 3), (2, 3), (3, 3)]


def test_positional_and_keyword_arguments_are_merged() -> None:
    """Behaviour 54; on an async function."""
    join: Any = batching.join
    calls = [join.spawn("a", "b"), join.spawn(right="d", left="c")]
    assert [call.get() for call in calls] == ["ab", "cd"]


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        (("a",), {}, "missing a required argument: 'right'"),
        (("a", "b", "c"), {}, "too many positional arguments"),
        (("a", "b"), {"wrong": 1}, "got an unexpected keyword argument 'wrong'"),
        (("a",), {"left": "b"}, "multiple values for argument 'left'"),
    ],
)
def test_an_input_that_does_not_fit_fails_the_whole_batch(
    args: Any, kwargs: Any, complaint: str
) -> None:
    """Behaviour 54."""
    join: Any = batching.join
    calls = [join.spawn("a", "b"), join.spawn(*args, **kwargs)]
    for call in calls:
        with pytest.raises(InvalidError, match="does not fit `join`") as raised:
            call.get()
        assert complaint in str(raised.value)


@pytest.mark.parametrize(("first", "error", "text"), [
    ("short", InvalidError, "called with 2 inputs and returned a list of 1"),
    ("text", InvalidError, "returned <class 'str'>"),
    ("raise", LookupError, "for all of them"),
])  # fmt: skip
def test_what_goes_wrong_goes_to_every_caller(first: str, error: Any, text: str) -> None:
    """Behaviour 53."""
    odd: Any = batching.odd
    calls = [odd.spawn(first), odd.spawn("other")]
    for call in calls:
        with pytest.raises(error, match=text):
            call.get()


def test_a_method_can_be_batched() -> None:
    """Behaviour 64: the decorator takes the place of `@volant.method()`."""
    model: Any = batching.Model(factor=5)
    assert list(model.times.map([1, 2, 3])) == [5, 10, 15]


def test_other_batches_are_a_pool_of_their_own() -> None:
    """Behaviour 45: the first handle stays as it is; of several changes the last one wins."""
    pairs: Any = batching.whole.with_batching(max_batch_size=2, wait_ms=batching.LONG_MS)
    assert list(pairs.map(range(4))) == [(value, 2) for value in range(4)]
    triples = pairs.with_batching(max_batch_size=3, wait_ms=batching.LONG_MS)
    assert list(triples.map(range(3))) == [(value, 3) for value in range(3)]
    assert list(pairs.map(range(2))) == [(value, 2) for value in range(2)]
    assert list(batching.whole.map(range(4))) == [(value, 4) for value in range(4)]


def test_who_is_cancelled_leaves_his_neighbours_until_all_are(volant_home: Path) -> None:
    first, second = batching.stuck.spawn(1), batching.stuck.spawn(2)
    app_id = batching.app.app_id or ""
    eventually(lambda: has_printed(volant_home, app_id, "stuck"))
    first.cancel()
    with pytest.raises(InputCancellation):
        first.get()
    with pytest.raises(TimeoutError):
        second.get(timeout=0)
    second.cancel()
    again = batching.stuck.spawn(3), batching.stuck.spawn(4)  # the container is free again
    eventually(lambda: has_printed(volant_home, app_id, "stuck\nstuck"))
    for call in again:
        call.cancel()


def with_default(values: list[int] = []) -> list[int]:  # noqa: B006  # never called
    return values


def generator(values: list[int]) -> Iterator[int]:
    yield from values


def plain(values: list[int]) -> list[int]:
    return values


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"max_batch_size": 0, "wait_ms": 1}, "max_batch_size must be from 1 to 1000, got 0"),
        ({"max_batch_size": 1001, "wait_ms": 1}, "got 1001"),
        ({"max_batch_size": 2}, "wait_ms must be from 0 to 600000, got -1"),
        ({"max_batch_size": 2, "wait_ms": 600_001}, "got 600001"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given: dict[str, Any], complaint: str) -> None:
    """Behaviour 46."""
    with pytest.raises(InvalidError, match=complaint):
        volant.batched(**given)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (with_default, "parameters with defaults"),
        (generator, "generator function `generator` cannot be batched"),
        (volant.method()(plain), "takes its place"),
        (7, "needs a function"),
    ],
)
def test_functions_that_cannot_be_batched_are_refused(raw: Any, complaint: str) -> None:
    """Behaviour 46."""
    with pytest.raises(InvalidError, match=complaint):
        volant.batched(max_batch_size=2, wait_ms=1)(raw)


def test_what_contradicts_it_is_refused() -> None:
    """Behaviours 46 and 64."""
    app: Any = volant.App("contradictions")
    marked = volant.batched(max_batch_size=2, wait_ms=1)(plain)
    with pytest.raises(InvalidError, match="single_use_containers"):
        app.function(single_use_containers=True, serialized=True)(marked)

    class Two:
        @volant.batched(max_batch_size=2, wait_ms=1)
        def first(self, values: list[int]) -> list[int]:
            return values

        @volant.method()
        def second(self) -> int:
            return 1

    with pytest.raises(InvalidError, match="the batched method `first` and others"):
        app.cls(serialized=True)(Two)
