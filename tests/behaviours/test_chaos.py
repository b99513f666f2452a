"""Every form of call at once, from several threads, while containers are killed at random."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import mapping
from tests.behaviours.programs import containers
from volant.errors import InputCancellation, InternalFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 3.0
chance = random.Random(7)


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with mapping.app.run():
        yield


def map_in_order() -> None:
    count = chance.randrange(1, 300)
    assert list(mapping.double.map(range(count))) == [2 * value for value in range(count)]


def map_as_completed() -> None:
    count = chance.randrange(1, 300)
    results = mapping.double.map(iter(range(count)), order_outputs=False)
    assert sorted(results) == [2 * value for value in range(count)]


def call_once() -> None:
    assert mapping.double.remote(5) == 10


def leave_a_map() -> None:
    for value in mapping.double.map(range(1000)):
        if value > 20:
            break


def spawn_and_cancel() -> None:
    calls = [mapping.double.spawn(value) for value in range(6)]
    chance.choice(calls).cancel()
    for value, call in enumerate(calls):
        try:
            assert call.get(timeout=30) == 2 * value
        except InputCancellation:
            continue


def generate() -> None:
    values = []
    try:
        values.extend(mapping.count_up.remote_gen(chance.randrange(50)))
    except InternalFailure as error:
        assert "in the middle of its values" in str(error)  # noqa: PT017  # one end of two
    assert values == list(range(len(values)))


def send_large() -> None:
    content = os.urandom(1_500_000)
    assert list(mapping.echo.map([content] * 3)) == [content] * 3


def await_many() -> None:
    async def many() -> list[int]:
        return list(await asyncio.gather(*(mapping.double_async.remote.aio(n) for n in range(20))))

    assert asyncio.run(many()) == [2 * value for value in range(20)]


def test_no_form_of_call_is_harmed_by_the_death_of_containers(volant_home: Path) -> None:
    """Issue 2, 7: each result once, in order, and nobody waits for ever."""
    deadline = monotonic() + SECONDS
    rounds: dict[str, int] = {}
    failures: list[BaseException] = []
    killed = 0

    def repeat(form: Callable[[], None]) -> None:
        try:
            while monotonic() < deadline:
                form()
                rounds[form.__name__] = rounds.get(form.__name__, 0) + 1
        except BaseException as error:  # noqa: BLE001  # shown by the test's own thread
            failures.append(error)

    forms = [
        map_in_order, map_as_completed, call_once, leave_a_map, spawn_and_cancel, generate,
        send_large, await_many,
    ]  # fmt: skip
    threads = [threading.Thread(target=repeat, args=(form,), daemon=True) for form in forms]
    for thread in threads:
        thread.start()
    while monotonic() < deadline:
        busy = [row["pid"] for row in containers(volant_home) if row["state"] == "busy"]
        if busy:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(chance.choice(busy), signal.SIGKILL)
                killed += 1
        threads[0].join(0.05)
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert not [thread.name for thread in threads if thread.is_alive()]
    assert killed > 3
    assert set(rounds) == {form.__name__ for form in forms}
