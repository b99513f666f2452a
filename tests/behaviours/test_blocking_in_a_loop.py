"""Blocking forms where an event loop runs: each says which form to write instead."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import defining, mapping
from volant.errors import AsyncUsageWarning, InvalidError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with mapping.app.run():
        yield


@pytest.fixture(scope="module")
def call(_running: None) -> volant.FunctionCall[int]:
    """A call of two inputs."""
    return mapping.double.experimental_spawn_map([1, 2])


def _run_app(_: volant.FunctionCall[int]) -> str:
    with defining.app.run() as app:
        return str(app.name)


#: Blocking form -> (what to write instead, the form in use, what it gives).
FORMS: dict[str, tuple[str, Callable[[volant.FunctionCall[int]], Any], Any]] = {
    "double.remote(...)": (
        "await double.remote.aio(...)", lambda _: mapping.double.remote(4), 8,
    ),
    "count_up.remote_gen(...)": (
        "async for value in count_up.remote_gen.aio(...)",
        lambda _: list(mapping.count_up.remote_gen(3)), [0, 1, 2],
    ),
    "double.spawn(...)": (
        "await double.spawn.aio(...)", lambda _: type(mapping.double.spawn(4)),
        volant.FunctionCall,
    ),
    "double.spawn_map(...)": (
        "await double.spawn_map.aio(...)",
        lambda _: mapping.double.spawn_map([1]),
        None,
    ),
    "double.experimental_spawn_map(...)": (
        "await double.experimental_spawn_map.aio(...)",
        lambda _: type(mapping.double.experimental_spawn_map([1])), volant.FunctionCall,
    ),
    "call.get(...)": ("await call.get.aio(...)", lambda call: call.get(index=1), 4),
    "call.num_inputs(...)": (
        "await call.num_inputs.aio(...)", lambda call: call.num_inputs(), 2,
    ),
    "call.cancel(...)": (
        "await call.cancel.aio(...)", lambda call: call.cancel(), None,
    ),
    "call.iter(...)": (
        "async for result in call.iter.aio(...)", lambda call: list(call.iter()), [2, 4],
    ),
    "FunctionCall.gather(...)": (
        "await FunctionCall.gather.aio(...)",
        volant.FunctionCall.gather, [2],
    ),
    "with app.run()": ("async with app.run()", _run_app, "defining"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_blocking_form_in_an_event_loop_warns(form: str, call: volant.FunctionCall[int]) -> None:
    """Behaviour 17: once, at the user's line, naming the form to write; the call itself works."""
    instead, use, expected = FORMS[form]
    assert call.get(index=1) == 4  # so that cancelling it changes nothing

    async def block() -> Any:
        return use(call)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert asyncio.run(block()) == expected
    assert [(one.category, str(one.message), one.filename) for one in caught] == [
        (AsyncUsageWarning, f"`{form}` blocks the running event loop; use `{instead}`", __file__)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_blocking_form_without_an_event_loop_does_not_warn(
    form: str, call: volant.FunctionCall[int]
) -> None:
    """Behaviour 17: warnings are errors here."""
    _, use, expected = FORMS[form]
    assert use(call) == expected


async def numbers() -> AsyncIterator[int]:
    """Inputs that only async code can pull."""
    for value in range(3):
        await asyncio.sleep(0)
        yield value


#: Form of a map -> what to write in async code.
MAPS = {
    "map": "async for result in double.map.aio(...)",
    "starmap": "async for result in double.starmap.aio(...)",
    "for_each": "await double.for_each.aio(...)",
}
SPAWNED_MAPS = {
    "spawn_map": "await double.spawn_map.aio(...)",
    "experimental_spawn_map": "await double.experimental_spawn_map.aio(...)",
}


@pytest.mark.parametrize("form", MAPS)
def test_a_blocking_map_in_an_event_loop_raises(form: str) -> None:
    """Behaviour 17: naming its own `.aio` form in the text, without the hint."""

    async def block() -> None:
        list(getattr(mapping.double, form)([(1,)]))

    with pytest.raises(InvalidError, match=rf"`double\.{form}\(\)` would block") as caught:
        asyncio.run(block())
    assert f".{form}.aio" in str(caught.value)
    assert caught.value.hint == f"use `{MAPS[form]}`"


def test_a_map_in_an_event_loop_may_be_iterated_over_by_it() -> None:
    """As programs for older versions of the programming model do, without `.aio`."""

    async def collect() -> list[Any]:
        return [
            [value async for value in mapping.double.map([1, 2])],
            [value async for value in mapping.double.starmap([(1,), (2,)])],
        ]

    assert asyncio.run(collect()) == [[2, 4]] * 2


@pytest.mark.parametrize("form", [*MAPS, *SPAWNED_MAPS])
def test_a_blocking_map_of_an_async_iterable_is_refused(form: str) -> None:
    """Behaviour 25: only the `.aio` form can pull from it, and is named."""
    with pytest.raises(InvalidError, match=rf"`double\.{form}\(\)` cannot pull") as caught:
        getattr(mapping.double, form)(numbers())
    assert caught.value.hint == f"use `{(MAPS | SPAWNED_MAPS)[form]}`"


def test_async_iterables_are_inputs_of_every_map_in_async_code() -> None:
    """Behaviour 25: also of those that are awaited."""

    async def rows() -> AsyncIterator[tuple[int]]:
        async for value in numbers():
            yield (value,)

    async def collect() -> list[Any]:
        call = await mapping.double.experimental_spawn_map.aio(numbers())
        await mapping.double.for_each.aio(numbers())
        await mapping.double.spawn_map.aio(numbers())
        return [
            [value async for value in mapping.double.map.aio(numbers())],
            [value async for value in mapping.double.starmap.aio(rows())],
            [value async for value in call.iter.aio()],
        ]

    assert asyncio.run(collect()) == [[0, 2, 4]] * 3


def test_spawning_a_map_lets_the_event_loop_go_on() -> None:
    """Behaviour 25: while it waits for an input, and while its inputs are sent."""

    async def interleaved() -> int:
        gate = asyncio.Event()

        async def inputs() -> AsyncIterator[int]:
            for value in range(600):
                yield value
            await gate.wait()
            yield 600

        spawning = asyncio.ensure_future(mapping.double.experimental_spawn_map.aio(inputs()))
        assert await mapping.double.remote.aio(5) == 10
        gate.set()
        call = await spawning
        assert await call.get.aio(index=600) == 1200
        return await call.num_inputs.aio()

    assert asyncio.run(interleaved()) == 601


def test_output_may_be_enabled_in_async_code(capfd: pytest.CaptureFixture[str]) -> None:
    """Behaviour 137: `async with volant.enable_output()`."""
    from tests.behaviours.apps import printing

    async def run() -> int:
        async with volant.enable_output(), printing.app.run():
            return await printing.both.remote.aio(5)

    assert asyncio.run(run()) == 5
    assert capfd.readouterr() == ("out 5\n", "err 5\n")
