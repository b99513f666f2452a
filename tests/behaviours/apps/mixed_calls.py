"""Calls in every form from several threads at once, for `seconds`; fails if a result is wrong.

Meant to lose its daemon meanwhile: what a daemon that is gone has kept is allowed to be lost.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import traceback
from time import monotonic, sleep
from typing import TYPE_CHECKING

import volant
from volant.errors import InputCancellation, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = volant.App("mixed-calls")
chance = random.Random(11)


@app.function(max_containers=3)
def double(value: int, duration_s: float = 0.0) -> int:
    sleep(duration_s)
    return 2 * value


@app.function(max_containers=2)
def count_up(stop: int) -> Iterator[int]:
    for value in range(stop):
        yield value
        sleep(0.002)


@app.function(max_containers=2)
def echo(value: bytes) -> bytes:
    return value


def map_in_order() -> None:
    count = chance.randrange(1, 300)
    assert list(double.map(range(count))) == [2 * value for value in range(count)]


def map_as_completed() -> None:
    count = chance.randrange(1, 300)
    results = double.map(iter(range(count)), order_outputs=False)
    assert sorted(results) == [2 * value for value in range(count)]


def call_once() -> None:
    assert double.remote(5, 0.01) == 10


def leave_a_map() -> None:
    for value in double.map(range(1000)):
        if value > 20:
            break


def spawn_and_cancel() -> None:
    try:
        calls = [double.spawn(value, 0.01) for value in range(6)]
        calls[3].cancel()
        for value, call in enumerate(calls):
            try:
                assert call.get() == 2 * value
            except InputCancellation:
                continue
    except NotFoundError:
        return


def generate() -> None:
    values: list[int] = []
    try:
        for value in count_up.remote_gen(chance.randrange(50)):
            values.append(value)  # noqa: PERF402  # those that came before an error count
    except ConnectionError:
        pass
    assert values == list(range(len(values)))


def send_large() -> None:
    content = chance.randbytes(1_500_000)
    assert list(echo.map([content] * 3)) == [content] * 3


def await_many() -> None:
    async def many() -> tuple[list[int], list[int]]:
        results = await asyncio.gather(*(double.remote.aio(n, 0.005) for n in range(20)))
        return list(results), [value async for value in double.map.aio(range(100))]

    awaited, mapped = asyncio.run(many())
    assert awaited == [2 * value for value in range(20)]
    assert mapped == [2 * value for value in range(100)]


FORMS = [
    map_in_order, map_as_completed, call_once, leave_a_map, spawn_and_cancel, generate, send_large,
    await_many,
]  # fmt: skip


def main(seconds: float) -> int:
    deadline = monotonic() + seconds
    failed: list[str] = []

    def repeat(form: Callable[[], None]) -> None:
        try:
            while monotonic() < deadline:
                form()
        except BaseException:  # noqa: BLE001  # shown below
            failed.append(f"{form.__name__}:\n{traceback.format_exc()}")

    with app.run():
        assert double.remote(1) == 2
        print("running", flush=True)
        threads = [threading.Thread(target=repeat, args=(form,), daemon=True) for form in FORMS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(deadline - monotonic() + 40)
        failed += [f"{thread.name} hangs" for thread in threads if thread.is_alive()]
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
