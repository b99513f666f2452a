"""Containers that die: told apart, named in the error, and their inputs run again elsewhere."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.apps import failing
from tests.behaviours.programs import containers
from tests.support import eventually
from volant.errors import InternalFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with failing.app.run():
        yield


def busy_container(home: Path, function: str) -> dict[str, Any]:
    """The container in which an input of this function runs."""

    def find() -> dict[str, Any] | None:
        rows = containers(home, function=function)
        return next((row for row in rows if row["state"] == "busy"), None)

    found = eventually(find)
    assert found is not None
    return found


def test_an_input_runs_again_when_its_container_is_killed(volant_home: Path) -> None:
    """Issue 2, 7: kill -9 from outside in the middle of an input; the caller sees no error."""
    call = failing.sleep_then_tell.spawn(0.5)
    victim = busy_container(volant_home, "sleep_then_tell")
    os.kill(victim["pid"], signal.SIGKILL)
    survivor = call.get()
    assert survivor.startswith("ta-")
    assert survivor != victim["container_id"]


def test_a_whole_map_survives_the_death_of_a_container(volant_home: Path) -> None:
    """Issue 2, 7: each input of the map has its result once."""
    results = failing.sleep_then_tell.map([0.05] * 20)
    first = next(results)
    victim = busy_container(volant_home, "sleep_then_tell")
    os.kill(victim["pid"], signal.SIGKILL)
    assert len([first, *results]) == 20


@pytest.mark.parametrize(
    ("function", "arguments", "count", "text"),
    [
        (failing.leave, (3,), 9, "ended by itself with status 3"),
        (failing.leave, (0,), 9, "ended by itself with status 0"),
        (failing.crash, (), 9, r"killed by signal 11 \(SIGSEGV\)"),
        (failing.kill_itself, (), 9, r"killed by signal 9 \(SIGKILL\)"),
        (failing.use_memory, (200,), 3, r"ran out of memory \(limit 100 MiB"),
    ],
    ids=["exit-3", "exit-0", "segfault", "kill", "memory"],
)
def test_the_cause_of_a_death_is_named(
    function: Any, arguments: tuple[object, ...], count: int, text: str
) -> None:
    """Issue 2, 7: after its last attempt, with the function and how often it was tried."""
    if function is failing.use_memory and os.geteuid() != 0:
        pytest.skip("only root can limit memory by control groups; else Python says MemoryError")
    with pytest.raises(InternalFailure, match=text) as caught:
        function.remote(*arguments)
    assert f"`{function.name}` died {count} times" in str(caught.value)
    wanted = "memory=(request, limit)" if count == 3 else "volant app logs"
    assert wanted in (caught.value.hint or "")


def test_a_limit_of_memory_leaves_room_below_it() -> None:
    """Issue 2, 7: only what exceeds the limit is killed."""
    assert failing.use_memory.remote(40) == 40 << 20


def test_others_go_on_beside_a_function_that_dies() -> None:
    """Issue 2, 7: a death is the affair of its own function."""
    dying = failing.leave.spawn(1)
    assert list(failing.fine.map(range(50))) == list(range(50))
    with pytest.raises(InternalFailure):
        dying.get()


def test_a_forked_child_does_not_answer_for_its_parent() -> None:
    """Issue 2, 7: user code may fork and let the child return."""
    assert failing.fork_and_return.remote() > 0


def test_a_container_that_closes_our_descriptors_is_replaced() -> None:
    """Issue 2, 7: user code that closes what it does not own harms only itself."""
    with pytest.raises(InternalFailure, match="`close_descriptors`"):
        failing.close_descriptors.remote()
    assert failing.fine.remote(1) == 1


def test_endless_recursion_is_an_exception() -> None:
    """Issue 2, 7: RecursionError with the innermost frames, not a crash."""
    with pytest.raises(RecursionError):
        failing.recurse.remote()
