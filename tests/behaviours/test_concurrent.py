"""Several inputs at once in one container: overlap, ids, and whom an end takes along."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import together
from tests.behaviours.programs import containers, has_printed
from tests.behaviours.test_ends import app_of
from tests.support import eventually
from volant.errors import FunctionTimeoutError, InputCancellation, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.behaviours.programs import Program

_keys = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with together.app.run():
        yield


@pytest.fixture
def key() -> str:
    """What the inputs of one test are known under in their container."""
    return f"test {next(_keys)}"


def wait_at_gates(act: Any, *keys: str) -> list[volant.FunctionCall[Any]]:
    """Calls whose inputs all wait in the container of `act`."""
    calls = []
    for one in keys:
        calls.append(act.spawn("wait", one))
        eventually(lambda one=one: one in act.remote("waited"))
    return calls


def test_inputs_of_a_plain_function_run_in_threads_at_once() -> None:
    """Behaviour 51: each waits until all are there, in a thread of its own in one container."""
    places = list(together.meet.map(range(together.MEETING)))
    assert [place.value for place in places] == list(range(together.MEETING))
    assert len({place.container_id for place in places}) == 1
    assert len({place.thread for place in places}) == together.MEETING
    assert not any(place.is_main for place in places)


def test_inputs_of_an_async_function_run_as_tasks_at_once() -> None:
    """Behaviour 51: each waits until all are there, in one thread, which is the main one."""
    places = list(together.meet_async.map(range(together.MEETING)))
    assert [place.value for place in places] == list(range(together.MEETING))
    assert len({place.container_id for place in places}) == 1
    assert len({place.thread for place in places}) == 1
    assert all(place.is_main for place in places)


@pytest.mark.parametrize("function", [together.meet, together.meet_async])
def test_each_input_knows_its_own_ids(function: Any) -> None:
    """Behaviour 51: one call has one id, its inputs have different ones, and contexts are apart."""
    places = list(function.map(range(together.MEETING)))
    [call_id] = {place.call_id for place in places}
    inputs = [f"in-{call_id.removeprefix('fc-')}-{index}" for index in range(together.MEETING)]
    assert [place.input_id for place in places] == inputs
    assert [place.own for place in places] == [place.value for place in places]


def test_inputs_of_different_calls_share_a_container() -> None:
    """Behaviour 51: the ids of calls differ where the calls do."""
    calls = [together.meet.spawn(value) for value in range(together.MEETING)]
    places = [call.get() for call in calls]
    assert [place.call_id for place in places] == [call.object_id for call in calls]
    assert len({place.container_id for place in places}) == 1


def test_one_input_at_once_is_what_happens_without_it() -> None:
    """Behaviours 51 and 52: `max_inputs=1` runs on the main thread."""
    assert together.alone.remote()


def test_a_handle_may_share_containers_where_its_function_does_not() -> None:
    """Behaviour 45: `with_concurrency` leaves the first handle alone, and the last one wins."""
    threaded: Any = together.alone.with_concurrency(max_inputs=2)
    assert together.alone.remote()
    assert not threaded.remote()
    assert threaded.with_concurrency(max_inputs=1).remote()
    assert not threaded.remote()


def test_an_exception_of_one_input_leaves_the_others() -> None:
    """Behaviour 51: each has its own outcome, whatever it raised."""
    calls = [together.meet_and_fail.spawn(value) for value in range(together.MEETING)]
    with pytest.raises(together.Refused, match="not 1"):
        calls[1].get()
    with pytest.raises(SystemExit):
        calls[2].get()
    assert calls[0].get() == calls[3].get()


def test_a_task_of_user_code_that_leaves_ends_nothing_else() -> None:
    """Behaviour 51: SystemExit of a task ends its event loop, and the loop is taken up again."""
    assert list(together.fail_in_a_task_of_its_own.map(range(3))) == [0, 1, 2]


def test_cancelling_an_async_input_leaves_its_neighbours(key: str) -> None:
    """Behaviour 55: its task gets the CancelledError, and its container stays."""
    act = together.act_async
    victim, neighbour = wait_at_gates(act, f"{key} victim", f"{key} neighbour")
    container_id = act.remote("open")
    victim.cancel()
    with pytest.raises(InputCancellation):
        victim.get()
    eventually(lambda: act.remote("cancelled") == [f"{key} victim"])
    act.remote("open", f"{key} neighbour")
    assert neighbour.get() == container_id


def test_cancelling_a_plain_input_ends_its_container(key: str) -> None:
    """Behaviours 55 and 50: a thread cannot be stopped; its neighbour runs again elsewhere."""
    act = together.act
    victim, neighbour = wait_at_gates(act, f"{key} victim", f"{key} neighbour")
    container_id = act.remote("open")
    victim.cancel()
    with pytest.raises(InputCancellation):
        victim.get()
    act.remote("open", f"{key} neighbour")
    assert neighbour.get() != container_id
    assert f"{key} victim" not in act.remote("waited")


def test_all_inputs_of_a_killed_container_run_again(volant_home: Path, key: str) -> None:
    """Behaviours 50 and 51: none of them has retries, and none fails."""
    act = together.act
    keys = [f"{key} {number}" for number in range(3)]
    calls = wait_at_gates(act, *keys)
    container_id = act.remote("open")
    [victim] = [row for row in containers(volant_home) if row["container_id"] == container_id]
    os.kill(victim["pid"], signal.SIGKILL)
    for one in keys:
        act.remote("open", one)
    [survivor] = {call.get() for call in calls}
    assert survivor != container_id


def test_an_async_input_that_takes_too_long_leaves_its_neighbours(key: str) -> None:
    """Behaviour 55: its task is cancelled, its caller told why, and its container stays."""
    act = together.act_async_in_time
    container_id = act.remote("open")
    call = act.spawn("wait", key)
    with pytest.raises(FunctionTimeoutError, match=r"timeout of 0\.5 s"):
        call.get()
    assert act.remote("cancelled") == [key]
    assert act.remote("open") == container_id


def test_a_plain_input_that_takes_too_long_ends_its_container(key: str) -> None:
    """Behaviours 50 and 55: the time of its neighbour, which began later, begins anew."""
    act = together.act_in_time
    [victim] = wait_at_gates(act, f"{key} victim")
    eventually(lambda: act.remote("waited")[f"{key} victim"] > 0.5)
    container_id = act.remote("open")
    [neighbour] = wait_at_gates(act, f"{key} neighbour")
    with pytest.raises(FunctionTimeoutError, match="timeout of 3 s"):
        victim.get()
    act.remote("open", f"{key} neighbour")
    assert neighbour.get() != container_id


@pytest.mark.parametrize("function", [together.call_others, together.call_others_async])
def test_inputs_that_run_at_once_may_all_call_others(function: Any) -> None:
    """Behaviour 51: their container has one connection, which they share."""
    wanted = [[2 * (value + number) for number in range(5)] for value in range(20)]
    assert list(function.map(range(20))) == wanted


def test_large_results_of_inputs_that_run_at_once_are_not_mixed_up() -> None:
    """Behaviour 51: each travels in a file of its own."""
    size = 3 << 20
    letters = [bytes([65 + number]) for number in range(12)]
    for letter, result in zip(letters, together.repeat.map(letters, [size] * 12), strict=True):
        assert result == letter * size


def test_async_calls_that_end_at_once_get_each_its_own_result() -> None:
    """Behaviour 51: small and large ones and exceptions, whichever way they travel."""
    sizes = [(1, 700, 20_000, 3 << 20, -1)[number % 5] for number in range(together.REPEATS)]
    letters = [b"%02d" % number for number in range(together.REPEATS)]

    async def gather() -> list[Any]:
        calls = map(together.repeat_at_once.remote.aio, letters, sizes)
        return await asyncio.gather(*calls, return_exceptions=True)

    for letter, size, result in zip(letters, sizes, asyncio.run(gather()), strict=True):
        if size < 0:
            assert isinstance(result, together.Refused)
            assert str(result) == letter.decode()
        else:
            assert result == letter * size


@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_all_tasks_may_clean_up_when_their_app_ends(
    start: Callable[..., Program], volant_home: Path, end: str
) -> None:
    """Behaviour 70: the first that is done does not cut off the others."""
    program = start("cleaning_together.py")
    assert program.line() == "running"
    app_id = app_of(volant_home, "cleaning-together")
    for clean_up_s in ("0.0", "0.2"):
        eventually(lambda s=clean_up_s: has_printed(volant_home, app_id, f"begun {s}"))
    getattr(program, end)()
    for clean_up_s in ("0.0", "0.2"):
        eventually(lambda s=clean_up_s: has_printed(volant_home, app_id, f"cleaned up {s}"))


idle_app = volant.App("idle")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"max_inputs": 0}, "max_inputs must be from 1 to 1000, got 0"),
        ({"max_inputs": 1001}, "max_inputs must be from 1 to 1000"),
        ({"max_inputs": 2.5}, "max_inputs must be from 1 to 1000, got 2.5"),
        ({"max_inputs": True}, "got True"),
        ({}, "max_inputs must be"),
        ({"max_inputs": 2, "target_inputs": 3}, r"target_inputs \(3\) is above max_inputs \(2\)"),
        ({"max_inputs": 2, "target_inputs": 0}, "target_inputs must be at least 1, got 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given: dict[str, Any], complaint: str) -> None:
    """Behaviour 46: `target_inputs` is at most `max_inputs`, and both are at least 1."""
    with pytest.raises(InvalidError, match=complaint):
        volant.concurrent(**given)


def plain(value: int) -> int:
    return value


def test_the_wrong_order_of_decorators_is_refused() -> None:
    """Behaviour 46: what to do is said."""
    with pytest.raises(InvalidError, match="swap the order"):
        volant.concurrent(max_inputs=2)(idle_app.function()(plain))  # type: ignore[type-var]


def test_it_needs_parentheses() -> None:
    """Behaviour 46: the right form is shown."""
    with pytest.raises(InvalidError, match="parentheses") as refused:
        volant.concurrent(plain)  # type: ignore[arg-type]
    assert "@volant.concurrent(max_inputs=10)" in (refused.value.hint or "")


def test_what_is_no_function_is_refused() -> None:
    """Behaviours 46 and 64: what does not fit is named."""
    with pytest.raises(InvalidError, match="goes on the class, not on its method `answer`"):
        volant.concurrent(max_inputs=2)(volant.method()(answer))
    for other in (7, len, "text".upper):
        with pytest.raises(InvalidError, match="needs a function"):
            volant.concurrent(max_inputs=2)(other)  # type: ignore[type-var]


def test_one_container_for_each_input_contradicts_it() -> None:
    """Behaviours 46 and 47: one of the two has to go."""
    with pytest.raises(InvalidError, match="`marked` cannot have a container for each input"):
        idle_app.function(single_use_containers=True)(marked)


@volant.concurrent(max_inputs=2)
def marked(value: int) -> int:
    return value


def answer(self: object) -> int:
    return 42


def test_a_marked_function_can_still_be_called() -> None:
    """Behaviour 2: `.local` runs the plain function, and the mark changes nothing of it."""
    assert marked(3) == 3
    assert idle_app.function()(marked).local(3) == 3


def test_one_decorator_may_make_several_functions() -> None:
    """Behaviour 46: a mark belongs to its function, not to what the decorators share."""
    decorate = idle_app.function(name="shared")
    first, second = decorate(marked).to_wire("m", 0), decorate(marked).to_wire("m", 0)
    assert first == second
    unmarked: Any = idle_app.function()(plain).to_wire("m", 0)
    assert unmarked["options"]["max_inputs"] == 1
