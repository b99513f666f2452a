"""Starts of containers: what the import of a program may do, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.apps import starting
from tests.behaviours.programs import program_file
from volant.errors import InternalFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def _running() -> Iterator[None]:
    with starting.app.run():
        yield


pytestmark = pytest.mark.usefixtures("_running")


def test_a_start_may_take_longer_than_the_timeout() -> None:
    """Behaviour 9: `timeout` counts what the function takes, not what its import does."""
    assert starting.late.remote()[0] == "slow"


def test_a_start_that_takes_too_long_is_told_with_its_limit() -> None:
    """Behaviour 9: `startup_timeout` bounds the import."""
    with pytest.raises(InternalFailure, match=r"`too_late`.* not ready after 0\.05 s"):
        starting.too_late.remote()


def test_a_start_may_take_as_long_as_the_function_when_nothing_is_said() -> None:
    """Behaviour 9: `startup_timeout` defaults to `timeout`."""
    with pytest.raises(InternalFailure, match=r"`as_late`.* not ready after 0\.06 s"):
        starting.as_late.remote()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (starting.exits, "ended by itself with status 4"),
        (starting.crashes, r"killed by signal 11 \(SIGSEGV\)"),
    ],
    ids=["exit", "segfault"],
)
def test_an_import_that_ends_its_process_is_told_as_such(function: Any, text: str) -> None:
    """Issue 2, 7: with the function whose container could not start, and how it ended."""
    with pytest.raises(InternalFailure, match=rf"imported the program, it .*{text}") as caught:
        function.remote()
    assert f"no container for `{function.name}`" in str(caught.value)


def test_an_exception_of_the_import_is_raised_by_every_call() -> None:
    """Issue 2, 7: as its own type, with the line of the module."""
    for _ in range(2):
        with pytest.raises(ValueError, match="not with me") as caught:
            starting.raises.remote()
        assert "raise ValueError(" in str(caught.traceback[-1].statement)
    with pytest.raises(SystemExit):
        starting.leaves.remote()


def test_what_an_import_starts_does_not_matter() -> None:
    """Behaviour 132: threads, child processes, another directory: the function runs in /root."""
    assert starting.forks.remote()[:2] == ("fork", "/root")
    assert starting.moves.remote()[:2] == ("chdir", "/root")
    kind, directory, names = starting.threads.remote()
    assert (kind, directory) == ("thread", "/root")
    assert "left running" in names, "each container imports anew and has the thread"


def test_functions_that_start_well_are_not_harmed() -> None:
    """Issue 2, 7: each environment is a version of its own."""
    assert starting.plain.remote() == ("", "/root", ["MainThread"])


ASKING = """
import volant

app = volant.App("asking")
starts = volant.Dict.from_name("asking", create_if_missing=True)
starts["count"] = starts.get("count", 0) + 1
counted = starts["count"]

@app.function()
def count():
    return counted

@app.local_entrypoint()
def main():
    print(counted, count.remote())
"""


def test_an_import_may_use_objects(run, tmp_path: Path) -> None:
    """Each container imports for itself then, as only it has a connection, and that is said."""
    done = run(program_file(tmp_path, ASKING))
    assert (done.returncode, done.stdout) == (0, "1 2\n"), done.stderr
    assert "importing this program uses apps or objects of Volant" in done.stderr
