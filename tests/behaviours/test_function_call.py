"""`spawn` and what it returns: `FunctionCall`."""

from __future__ import annotations

import asyncio
import builtins
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import mapping
from tests.behaviours.programs import has_printed, run_program
from tests.support import eventually
from volant.errors import InputCancellation, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.behaviours.image_builds import Gate


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with mapping.app.run():
        yield


def test_spawn_returns_a_call_with_an_id() -> None:
    """Behaviour 30: the id begins with "fc-"."""
    call = mapping.double.spawn(4, offset=1)
    assert isinstance(call, volant.FunctionCall)
    assert call.object_id.startswith("fc-")
    assert call.get() == 9


def test_get_may_be_repeated() -> None:
    """Behaviour 31: and gives the same value."""
    call = mapping.double.spawn(5)
    assert [call.get(), call.get(), asyncio.run(call.get.aio())] == [10, 10, 10]


def test_get_of_a_failed_call_raises_each_time() -> None:
    """Behaviour 31: the same holds for exceptions."""
    call = mapping.double_even.spawn(5)
    for _ in range(2):
        with pytest.raises(mapping.Odd, match="5 is odd"):
            call.get()


def test_get_with_timeout_zero_only_looks() -> None:
    """Behaviours 32 and 141: what it raises before the end is the builtin TimeoutError."""
    call = mapping.wait.spawn(0.4)
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=0)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.05)
    assert call.get() == 0.4
    assert call.get(timeout=0) == 0.4


def test_get_with_timeout_zero_only_looks_in_async_code() -> None:
    """Behaviours 32 and 141: `.aio` alike."""

    async def look() -> float:
        call = await mapping.wait.spawn.aio(0.3)
        with pytest.raises(TimeoutError):
            await call.get.aio(timeout=0)
        with pytest.raises(TimeoutError):
            await call.get.aio(timeout=0.05)
        return await call.get.aio(timeout=30)

    assert asyncio.run(look()) == 0.3


def test_a_call_is_found_by_its_id_from_another_process(volant_home: Path) -> None:
    """Behaviour 33: while the app that made it runs."""
    call = mapping.double.spawn(21)
    program = "import sys, volant; print(volant.FunctionCall.from_id(sys.argv[1]).get())"
    assert run_program("-c", program, call.object_id, home=volant_home).stdout == "42\n"


def test_from_id_asks_nobody(tmp_path: Path) -> None:
    """Behaviour 33: it is no coroutine, and starts no daemon."""
    program = "import sys, volant; print(volant.FunctionCall.from_id(sys.argv[1]).object_id)"
    call_id = mapping.double.spawn(1).object_id
    assert run_program("-c", program, call_id, home=tmp_path).stdout == f"{call_id}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_none_is_refused() -> None:
    """Behaviour 33: at once when it cannot be one, on use when there is no such call."""
    with pytest.raises(InvalidError, match="is not the id of a call"):
        volant.FunctionCall.from_id("fu-123")
    known = mapping.double.spawn(1).object_id
    unknown = volant.FunctionCall.from_id(known[:-3] + "999")
    with pytest.raises(NotFoundError, match="there is no call"):
        unknown.get()


def test_gather_returns_in_the_order_of_its_arguments() -> None:
    """Behaviour 34: not in the order of completion; one that fails raises."""
    calls = [mapping.wait.spawn(0.2), mapping.wait.spawn(0.0)]
    assert volant.FunctionCall.gather(*calls) == [0.2, 0.0]
    assert asyncio.run(volant.FunctionCall.gather.aio(*calls)) == [0.2, 0.0]
    failing = mapping.double_even.spawn(1)
    with pytest.raises(mapping.Odd):
        volant.FunctionCall.gather(mapping.double.spawn(1), failing)


def test_cancel_makes_get_raise_and_leaves_others_alone() -> None:
    """Behaviour 35: a running input is interrupted, others go on."""
    running, other = mapping.wait.spawn(30.0), mapping.wait.spawn(0.3)
    running.cancel()
    with pytest.raises(InputCancellation):
        running.get()
    assert other.get() == 0.3


def test_cancel_interrupts_what_runs(volant_home: Path) -> None:
    """Behaviour 35: its container is free for the next input, long before it would have been."""
    call = mapping.notice_cancellation.spawn(60.0)
    eventually(lambda: has_printed(volant_home, mapping.app.app_id, "begun to notice"))
    call.cancel()
    assert mapping.notice_cancellation.remote(0.0) == "InputCancellation"
    with pytest.raises(InputCancellation):
        call.get()


def test_cancel_interrupts_what_is_about_to_run(gate: Gate) -> None:
    """Behaviour 35: what comes while arguments are unpickled is not lost."""
    call = mapping.wait_for_ever.spawn(mapping.SlowToArrive(gate.port))
    with gate.wait():
        call.cancel()
        assert mapping.double.remote(1) == 2  # by now the container has been told
    with pytest.raises(InputCancellation):
        call.get()
    eventually(lambda: not is_busy("wait_for_ever"))


def test_leaving_a_generator_interrupts_it_between_two_values(gate: Gate) -> None:
    """Behaviours 13 and 35: what comes while a value is sent is not lost."""
    values = mapping.yield_and_wait_for_ever.remote_gen(gate.port)
    assert next(values) == 0
    with gate.wait():
        values.close()  # type: ignore[attr-defined]  # a generator, as `remote_gen` of the model is
        assert mapping.double.remote(1) == 2  # by now the container has been told
    eventually(lambda: not is_busy("yield_and_wait_for_ever"))


def test_cancel_interrupts_async_code() -> None:
    """Behaviour 35: an async function as well."""
    call = mapping.wait_async.spawn(60.0)
    eventually(lambda: is_busy("wait_async"))
    call.cancel()
    with pytest.raises(InputCancellation):
        call.get()
    assert mapping.wait_async.remote(0.0) == 0.0


def test_cancel_may_end_the_container() -> None:
    """Behaviour 35: with `terminate_containers=True` even one that lets nothing interrupt it."""
    call = mapping.ignore_cancellation.spawn(60.0)
    eventually(lambda: is_busy("ignore_cancellation"))
    call.cancel(terminate_containers=True)
    with pytest.raises(InputCancellation):
        call.get()
    eventually(lambda: not is_busy("ignore_cancellation"))


def test_a_call_of_many_inputs_is_asked_one_by_one() -> None:
    """Behaviour 36: `get(index=)`, `num_inputs()`, `iter(start=, end=)`."""
    call = mapping.double.experimental_spawn_map(range(10))
    assert call.num_inputs() == 10
    assert call.get(index=7) == 14
    assert list(call.iter()) == [2 * value for value in range(10)]
    assert list(call.iter(start=3, end=5)) == [6, 8]
    with pytest.raises(InvalidError, match="no index 10"):
        call.get(index=10)


def test_a_call_of_many_inputs_is_asked_one_by_one_in_async_code() -> None:
    """Behaviour 36: `.aio` alike."""

    async def ask() -> tuple[int, int, list[int], list[int]]:
        call = await mapping.double.experimental_spawn_map.aio(range(10))
        return (
            await call.num_inputs.aio(),
            await call.get.aio(index=7),
            [value async for value in call.iter.aio()],
            [value async for value in call.iter.aio(start=3, end=5)],
        )

    assert asyncio.run(ask()) == (10, 14, [2 * value for value in range(10)], [6, 8])


def test_a_call_of_many_inputs_fails_one_by_one() -> None:
    """Behaviour 36: each input has its own outcome."""
    call = mapping.double_even.experimental_spawn_map([0, 1, 2])
    assert [call.get(index=0), call.get(index=2)] == [0, 4]
    with pytest.raises(mapping.Odd):
        call.get(index=1)
    assert asyncio.run(call.num_inputs.aio()) == 3


def is_busy(function: str) -> bool:
    from volant.channel import current

    rows = current.channel().request("container_list")["containers"]
    return any(row["function"] == function and row["state"] == "busy" for row in rows)
