"""Containers that have to end: what runs is interrupted, hooks run, and inputs run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.behaviours.programs import WITHIN_S, ask, containers
from tests.behaviours.test_ends import app_of
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.behaviours.programs import Program


def printed(home: Path, app_id: str) -> list[str]:
    entries = ask(home, "app_logs", app=app_id)["entries"]
    return b"".join(entry["data"] for entry in entries).decode().split("\n")[:-1]


@pytest.mark.parametrize("name", ["Waiting", "InTasks"])
def test_a_container_that_is_stopped_tidies_up_and_its_input_runs_again(
    start: Callable[..., Program], volant_home: Path, name: str
) -> None:
    """Behaviour 56: exit hooks run on preemption, after the user's own clean-up."""
    program = start("preempting.py", name)
    assert program.line() == "running"
    app_id = app_of(volant_home, "preempting")
    eventually(lambda: printed(volant_home, app_id) == ["waiting"])
    [first] = [row for row in containers(volant_home) if row["app_id"] == app_id]
    ask(volant_home, "container_stop", container=first["container_id"])
    eventually(lambda: len(printed(volant_home, app_id)) == 4)
    assert printed(volant_home, app_id) == ["waiting", "tidied up", "goodbye", "waiting"]
    program.interrupt()
    program.end()


def test_exit_hooks_run_when_the_server_is_stopped(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Behaviour 56: and on shutdown."""
    program = start("preempting.py", "Waiting", home=own_home)
    assert program.line() == "running"
    app_id = app_of(own_home, "preempting")
    eventually(lambda: printed(own_home, app_id) == ["waiting"])
    ask(own_home, "server_stop")
    log = own_home / "logs" / f"{app_id}.jsonl"
    eventually(lambda: "goodbye" in log.read_text(), within_s=WITHIN_S)
