"""Functions that fail a few times, and one that counts their attempts.

Containers share nothing, so attempts are counted by a function of one container that the others
call.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("retrying")
times: dict[str, list[float]] = {}
IMPORTED_ON_MAIN_THREAD = threading.current_thread() is threading.main_thread()


class NotYet(Exception):
    pass


@app.function(max_containers=1, min_containers=1)
def attempts(key: str, *, another: bool = True) -> list[float]:
    """When each attempt began, with one more now."""
    if another:
        times.setdefault(key, []).append(time.monotonic())
    return times.get(key, [])


def succeed_at(key: str, attempt: int) -> tuple[int, str]:
    number = len(attempts.remote(key))
    if number < attempt:
        raise NotYet(f"attempt {number}")
    return number, os.environ["VOLANT_CONTAINER_ID"]


@app.function(retries=volant.Retries(max_retries=2, initial_delay=0.0))
def twice_again(key: str, attempt: int) -> tuple[int, str]:
    return succeed_at(key, attempt)


@app.function()
def once(key: str, attempt: int) -> tuple[int, str]:
    return succeed_at(key, attempt)


@app.function(retries=volant.Retries(max_retries=3, initial_delay=0.05, backoff_coefficient=2.0))
def slower_and_slower(key: str, attempt: int) -> None:
    succeed_at(key, attempt)


@app.function(retries=volant.Retries(max_retries=2, initial_delay=0.0), timeout=0.3)
def run_out_of_time(key: str, attempt: int) -> int:
    number = len(attempts.remote(key))
    time.sleep(0.0 if number >= attempt else 30.0)
    return number


@app.function(retries=volant.Retries(max_retries=5, initial_delay=0.0), max_containers=1)
def wait_to_be_cancelled(key: str, duration_s: float) -> None:
    if len(attempts.remote(key)) == 1:
        time.sleep(duration_s)


@app.function(retries=volant.Retries(max_retries=1, initial_delay=0.0))
def die_first(key: str, deaths: int) -> int:
    """Its container dies `deaths` times; then user code fails once; then all is well."""
    number = len(attempts.remote(key))
    if number <= deaths:
        os._exit(3)
    if number == deaths + 1:
        raise NotYet(f"attempt {number}")
    return number


@app.function()
def yield_and_die(key: str, die_after: int) -> Iterator[int]:
    """Its first container dies after so many values; the others go on to the end."""
    number = len(attempts.remote(key))
    for value in range(5):
        if number == 1 and value == die_after:
            os._exit(3)
        yield value


@app.function()
def on_main_thread() -> tuple[bool, bool]:
    return threading.current_thread() is threading.main_thread(), IMPORTED_ON_MAIN_THREAD
