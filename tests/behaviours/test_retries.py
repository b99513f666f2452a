"""Retries, and what is counted as one; the thread that user code runs on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import retrying
from tests.support import eventually
from volant.errors import FunctionTimeoutError, InputCancellation, InternalFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

_keys = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with retrying.app.run():
        yield


@pytest.fixture
def key() -> str:
    """What the attempts of one test are counted under."""
    return f"test {next(_keys)}"


def attempts(key: str) -> int:
    return len(retrying.attempts.remote(key, another=False))


def test_retries_are_attempts_after_the_first(key: str) -> None:
    """Behaviour 48: n retries are n+1 attempts; the last may be the one that succeeds."""
    assert retrying.twice_again.remote(key, 3)[0] == 3
    assert attempts(key) == 3


def test_the_last_exception_is_raised(key: str) -> None:
    """Behaviour 48: after all attempts have failed."""
    with pytest.raises(retrying.NotYet, match="attempt 3"):
        retrying.twice_again.remote(key, 100)
    assert attempts(key) == 3


def test_a_first_success_makes_no_retry(key: str) -> None:
    """Behaviour 48: one attempt and no more."""
    assert retrying.twice_again.remote(key, 1)[0] == 1
    assert attempts(key) == 1


def test_without_retries_the_first_exception_is_raised(key: str) -> None:
    """Behaviour 48: the default is none."""
    with pytest.raises(retrying.NotYet, match="attempt 1"):
        retrying.once.remote(key, 2)
    assert attempts(key) == 1


def test_each_input_of_a_map_has_its_own_retries(key: str) -> None:
    """Behaviour 48: they are per input."""
    keys = [f"{key}.{number}" for number in range(4)]
    results = list(retrying.twice_again.map(keys, [1, 2, 3, 1]))
    assert [number for number, _ in results] == [1, 2, 3, 1]
    assert [attempts(one) for one in keys] == [1, 2, 3, 1]


def test_spawned_calls_are_retried(key: str) -> None:
    """Behaviour 48: by the hub, so nobody has to wait for them."""
    assert retrying.twice_again.spawn(key, 2).get()[0] == 2


def test_a_timeout_is_an_attempt_that_failed(key: str) -> None:
    """Behaviour 48: with attempts left it is tried again."""
    assert retrying.run_out_of_time.remote(key, 2) == 2
    other = f"{key} again"
    with pytest.raises(FunctionTimeoutError):
        retrying.run_out_of_time.remote(other, 100)
    assert attempts(other) == 3


def test_a_cancelled_call_is_not_retried(key: str) -> None:
    """Behaviour 48: whatever its retries are."""
    call = retrying.wait_to_be_cancelled.spawn(key, 60.0)
    eventually(lambda: attempts(key))
    call.cancel()
    with pytest.raises(InputCancellation):
        call.get()
    # Its one container takes inputs in their order: when the first of these has run, a further
    # attempt, which has no delay, waits ahead of the second.
    for number in range(2):
        retrying.wait_to_be_cancelled.remote(f"{key} then {number}", 0.0)
    assert attempts(key) == 1


def test_the_delay_between_attempts_grows(key: str) -> None:
    """Behaviour 49: 50 ms, then 100 ms, then 200 ms here."""
    retrying.slower_and_slower.remote(key, 4)
    times = retrying.attempts.remote(key, another=False)
    delays = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(delays) == 3
    assert all(delay >= least for delay, least in zip(delays, [0.05, 0.1, 0.2], strict=True))


def test_the_platforms_failures_are_not_the_users_retries(key: str) -> None:
    """Behaviour 50: three containers die, and the one retry is still there afterwards."""
    assert retrying.die_first.remote(key, 3) == 5


def test_a_generator_runs_again_when_it_has_yielded_nothing(key: str) -> None:
    """Behaviours 13 and 50: its container has died, and nobody has seen any of it."""
    assert list(retrying.yield_and_die.remote_gen(key, 0)) == [0, 1, 2, 3, 4]
    assert attempts(key) == 2


def test_a_generator_that_has_yielded_does_not_run_again(key: str) -> None:
    """Behaviours 13 and 50: its values would come twice; it fails and says why."""
    values = retrying.yield_and_die.remote_gen(key, 3)
    assert [next(values), next(values), next(values)] == [0, 1, 2]
    with pytest.raises(InternalFailure, match=r"`yield_and_die` died.*status 3"):
        next(values)
    assert attempts(key) == 1


def test_user_code_runs_on_the_main_thread() -> None:
    """Behaviour 52: its import too."""
    assert retrying.on_main_thread.remote() == (True, True)
