"""The map family: `map`, `starmap`, `for_each`, `spawn_map`."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import mapping
from tests.behaviours.programs import containers
from tests.support import eventually
from volant.errors import DeprecationError, InputCancellation, InvalidError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from tests.behaviours.image_builds import Gate
    from tests.behaviours.programs import Program


class Broken(Exception):
    """What an iterator of inputs raises."""


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with mapping.app.run():
        yield


def break_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise Broken(f"after {count}")


@pytest.mark.parametrize("inputs_count", [1, 7, 1000, 20_000])
def test_results_come_in_the_order_of_the_inputs(inputs_count: int) -> None:
    """Behaviour 18: whatever their number."""
    results = list(mapping.double.map(range(inputs_count)))
    assert results == [2 * value for value in range(inputs_count)]


def test_results_come_as_completed_when_asked_for() -> None:
    """Behaviour 18: a short input overtakes a long one with `order_outputs=False`."""
    assert list(mapping.wait.map([0.8, 0.0], order_outputs=False)) == [0.0, 0.8]
    assert list(mapping.wait.map([0.1, 0.0])) == [0.1, 0.0]


def test_several_iterables_are_zipped() -> None:
    """Behaviour 19: to the shortest, sized or not."""
    assert list(mapping.add.map([1, 2, 3], [10, 20, 30])) == [11, 22, 33]
    assert list(mapping.add.map(iter([1, 2, 3]), range(2))) == [1, 3]
    assert list(mapping.double.map([1, 2], kwargs={"offset": 5})) == [7, 9]


def test_starmap_takes_tuples() -> None:
    """Behaviour 19: one of arguments for each input, also out of a generator."""
    assert list(mapping.add.starmap([(1, 2), (3, 4)])) == [3, 7]
    assert list(mapping.add.starmap((value, value) for value in range(3))) == [0, 2, 4]
    assert list(mapping.double.starmap([(1,)], kwargs={"offset": 1})) == [3]


def test_starmap_over_an_empty_tuple_calls_without_arguments() -> None:
    """Behaviour 19: `()` as an input is a call with no arguments."""
    assert list(mapping.constant.starmap([(), ()])) == ["called", "called"]


@pytest.mark.parametrize("inputs", [[], iter([]), (value for value in ())])
def test_a_map_of_nothing_is_empty(volant_home: Path, inputs: Iterable[int]) -> None:
    """Behaviour 20: and returns at once, without a container."""

    async def collect() -> list[int]:
        return [value async for value in mapping.never_needed.map.aio([])]

    assert list(mapping.never_needed.map(inputs)) == []
    assert list(mapping.never_needed.starmap([])) == []
    mapping.never_needed.for_each([])
    assert asyncio.run(collect()) == []
    assert mapping.double.remote(1) == 2  # a container that was wanted would be there by now
    assert containers(volant_home, function="never_needed") == []


def test_none_is_a_result() -> None:
    """Behaviour 21: it is yielded, not dropped."""
    assert list(mapping.nothing.map([1, 2, 3])) == [None, None, None]


def test_the_first_failing_input_raises_at_its_turn() -> None:
    """Behaviour 22: after the results before it."""
    results = mapping.double_even.map([0, 2, 4, 5, 6])
    assert [next(results), next(results), next(results)] == [0, 4, 8]
    with pytest.raises(mapping.Odd, match="5 is odd"):
        next(results)


def test_exceptions_take_the_place_of_results_when_asked_for() -> None:
    """Behaviour 22: unwrapped, each in its place."""
    results = list(mapping.double_even.map([0, 1, 2, 3], return_exceptions=True))
    assert [results[0], results[2]] == [0, 4]
    assert [type(results[1]), type(results[3])] == [mapping.Odd, mapping.Odd]
    assert [str(results[1]), str(results[3])] == ["1 is odd", "3 is odd"]


@pytest.mark.parametrize("wrap", [True, False])
def test_wrap_returned_exceptions_warns(wrap: bool) -> None:
    """Behaviour 23: it is accepted and does nothing: exceptions are never wrapped."""
    with pytest.warns(DeprecationError, match="wrap_returned_exceptions"):
        results = mapping.double_even.map(
            [1, 2], return_exceptions=True, wrap_returned_exceptions=wrap
        )
    failed, doubled = results
    assert type(failed) is mapping.Odd
    assert doubled == 4
    with pytest.warns(DeprecationError, match="wrap_returned_exceptions"):
        rows = mapping.add.starmap([(1, 2)], wrap_returned_exceptions=wrap)
    assert list(rows) == [3]


def test_an_exception_of_the_inputs_reaches_the_caller() -> None:
    """Behaviour 24: map, starmap and spawn_map; the results before it come first."""
    results = mapping.double.map(break_after(3))
    assert [next(results), next(results), next(results)] == [0, 2, 4]
    with pytest.raises(Broken, match="after 3"):
        next(results)
    with pytest.raises(Broken):
        list(mapping.add.starmap((value, value) for value in break_after(2)))
    with pytest.raises(Broken):
        mapping.double.spawn_map(break_after(2))
    with pytest.raises(Broken):
        mapping.double.for_each(break_after(2))


def test_an_exception_of_the_inputs_reaches_async_code() -> None:
    """Behaviour 24: in `.aio` form, of plain and of async iterators."""

    async def collect() -> list[int]:
        return [value async for value in mapping.double.map.aio(break_after(2))]

    async def break_in_async_code() -> AsyncIterator[tuple[int, int]]:
        yield 1, 1
        raise Broken("after 1")

    async def collect_rows() -> list[int]:
        return [value async for value in mapping.add.starmap.aio(break_in_async_code())]

    async def spawn() -> None:
        await mapping.double.spawn_map.aio(break_after(2))

    with pytest.raises(Broken, match="after 2"):
        asyncio.run(collect())
    with pytest.raises(Broken, match="after 1"):
        asyncio.run(collect_rows())
    with pytest.raises(Broken, match="after 2"):
        asyncio.run(spawn())


def test_async_generators_are_inputs_of_map_aio() -> None:
    """Behaviour 25: alone, or zipped with a list."""

    async def numbers() -> AsyncIterator[int]:
        for value in range(100):
            await asyncio.sleep(0)
            yield value

    async def collect() -> tuple[list[int], list[int]]:
        doubled = [value async for value in mapping.double_async.map.aio(numbers())]
        added = [value async for value in mapping.add.map.aio(numbers(), [1, 2, 3])]
        return doubled, added

    doubled, added = asyncio.run(collect())
    assert doubled == [2 * value for value in range(100)]
    assert added == [1, 3, 5]


def test_a_blocking_iterator_does_not_stall_other_tasks() -> None:
    """Behaviour 25: while `map.aio` waits for an input, the event loop goes on."""
    gate = threading.Event()

    def block() -> Iterator[int]:
        yield 1
        assert gate.wait(30), "the other task never ran"
        yield 2

    async def both() -> list[int]:
        results = mapping.double.map.aio(block())
        first = await anext(results)
        assert await mapping.double.remote.aio(50) == 100  # while the iterator blocks
        gate.set()
        return [first, *[value async for value in results]]

    assert asyncio.run(both()) == [2, 4]


def test_a_blocking_iterator_does_not_hold_back_results() -> None:
    """Behaviour 25: in sync code the first result is here before the second input is."""
    gate = threading.Event()

    def block() -> Iterator[int]:
        yield 1
        assert gate.wait(30), "the first result was held back"
        yield 2

    results = mapping.double.map(block())
    assert next(results) == 2
    gate.set()
    assert list(results) == [4]


def test_a_map_feeds_another() -> None:
    """Behaviour 26: results of one are inputs of the next."""
    assert list(mapping.double.map(mapping.double.map(range(300)))) == [
        4 * value for value in range(300)
    ]


def test_for_each_waits_for_all_and_returns_none() -> None:
    """Behaviour 27: every input has run when it returns."""
    returned = mapping.count_even.for_each(["all"] * 10, range(0, 20, 2))
    assert returned is None
    assert mapping.counter.remote("all") == 10


def test_for_each_raises_what_an_input_raises() -> None:
    """Behaviour 27: also the last of them."""
    with pytest.raises(mapping.Odd, match="5 is odd"):
        mapping.count_even.for_each(["failing"] * 4, [0, 2, 4, 5])


def test_for_each_goes_on_when_told_to_ignore_exceptions() -> None:
    """Behaviour 27: with `ignore_exceptions=True` the inputs after a failing one run as well."""
    mapping.count_even.for_each(["ignoring"] * 10, range(10), ignore_exceptions=True)
    assert mapping.counter.remote("ignoring") == 10
    asyncio.run(
        mapping.count_even.for_each.aio(["awaited"] * 10, range(10), ignore_exceptions=True)
    )
    assert mapping.counter.remote("awaited") == 10


def test_a_map_that_nobody_iterates_warns() -> None:
    """Behaviour 28: naming the for-loop that is missing, and the form that was used."""
    with pytest.warns(UserWarning, match=r"^`double\.map\(\.\.\.\)` .*for-loop"):
        mapping.double.map([1, 2, 3])
    with pytest.warns(UserWarning, match=r"^`add\.starmap\(\.\.\.\)` .*for-loop"):
        mapping.add.starmap([(1, 2)])


def test_a_map_that_nobody_iterates_warns_at_exit(start: Callable[..., Program]) -> None:
    """Behaviour 28: also when the program ends with it."""
    code, _, complaint = start("forgotten_map.py").end()
    assert code == 0
    assert "for-loop" in complaint


def test_spawn_map_does_not_wait() -> None:
    """Behaviour 29: it returns None when the hub has the inputs, long before their results."""
    assert mapping.gated.spawn_map(["gate"] * 3) is None
    eventually(lambda: mapping.counter.remote("gate begun") == 2)  # both containers
    assert mapping.counter.remote("gate ended") == 0
    mapping.counter.remote("gate open", 1)
    eventually(lambda: mapping.counter.remote("gate ended") == 3)


def test_spawned_work_goes_on_in_a_detached_app(start: Callable[..., Program]) -> None:
    """Behaviour 29: the program is over, its inputs are not."""
    program = start("leaves_work.py", "detach")
    call_id = program.line()
    assert program.end()[0] == 0
    call = volant.FunctionCall.from_id(call_id)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    assert list(call.iter()) == [2, 4, 6]


def test_spawned_work_ends_with_an_app_that_is_not_detached(start: Callable[..., Program]) -> None:
    """Behaviour 29: an app that only runs takes its calls with it."""
    program = start("leaves_work.py")
    call_id = program.line()
    assert program.end()[0] == 0
    with pytest.raises(InputCancellation):
        volant.FunctionCall.from_id(call_id).get()


def test_a_map_needs_iterables() -> None:
    """Better than the model: what is wrong is said before anything is sent."""
    with pytest.raises(InvalidError, match="needs iterables, got 5"):
        mapping.double.map(5)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(InvalidError, match="at least one iterable"):
        mapping.double.map()


def test_results_are_ordinary_iterables() -> None:
    """Behaviour 140: of map; they may be used from the threads of a pool."""
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(sum, [mapping.double.map(range(50)) for _ in range(8)]))
    assert sums == [2 * sum(range(50))] * 8


def test_values_of_generators_are_ordinary_iterables() -> None:
    """Behaviour 140: of remote_gen; begun in one thread, used up in another."""
    streams = [mapping.count_up.remote_gen(50) for _ in range(4)]
    assert [next(stream) for stream in streams] == [0] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sum, streams)) == [sum(range(50))] * 4


def test_many_threads_may_call_at_once() -> None:
    """Behaviour 140: maps and calls share one connection."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(mapping.double.remote, range(200)))
    assert results == [2 * value for value in range(200)]


def test_ids_differ_for_each_input() -> None:
    """Behaviour 51: inputs of one map share their call and have an id each."""
    ids = list(mapping.current_ids.map(range(20)))
    assert len({call_id for call_id, _ in ids}) == 1
    assert len({input_id for _, input_id in ids}) == 20
    call_id, input_id = ids[0]
    assert call_id is not None
    assert input_id is not None
    assert call_id.startswith("fc-")
    assert input_id.startswith("in-")


def test_a_result_does_not_wait_for_the_input_after_it(gate: Gate) -> None:
    """Inputs that seem to be quick travel together; one that is not holds nothing back."""
    values = mapping.pass_gate.map([0, 0, 0, 0, gate.port])
    assert [next(values) for _ in range(4)] == [0] * 4
    gate.wait().close()
    assert next(values) == gate.port
