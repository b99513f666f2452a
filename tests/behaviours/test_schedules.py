"""Schedules through the product: they fire in apps that run, and the command steers them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.behaviours.apps import timed
from tests.support import eventually, run_volant

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def rows(home: Path) -> dict[str, dict[str, object]]:
    listed = run_volant("schedule", "list", "--json", home=home)
    return {row["name"]: row for row in json.loads(listed.stdout)}


def said(home: Path, *words: str) -> str:
    run = run_volant("schedule", *words, home=home)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_schedules_fire_in_ephemeral_apps_too(volant_home: Path) -> None:
    """Behaviour 137."""
    with timed.app.run():
        eventually(lambda: timed.count.remote(only_look=True) >= 1)
        eventually(lambda: rows(volant_home)["count"]["last_ok"] is True)
    assert rows(volant_home) == {}


def test_a_schedule_is_paused_resumed_and_run_by_hand(volant_home: Path) -> None:
    """Issue 5, 6."""
    with timed.app.run():
        assert said(volant_home, "pause", "count") == "paused timed.count\n"
        assert rows(volant_home)["count"]["next_due"] is None
        assert "paused" in said(volant_home, "list")
        assert said(volant_home, "resume", "timed.count").startswith("resumed timed.count, due 2")
        assert said(volant_home, "run", "yearly").startswith("runs timed.yearly as fc-")
        eventually(lambda: rows(volant_home)["yearly"]["failures"] == 1)
        app_id = timed.app.app_id
        assert app_id is not None
        logs = run_volant("app", "logs", app_id, home=volant_home)
        assert "schedule of `yearly`: run fc-" in logs.stderr
        assert "ZeroDivisionError: division by zero" in logs.stderr
        unknown = run_volant("schedule", "pause", "yearrly", home=volant_home)
        assert (unknown.returncode, "did you mean yearly" in unknown.stderr) == (2, True)


def test_failed_runs_are_shown_where_the_app_is_run(
    volant_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import volant

    with volant.enable_output(), timed.app.run():
        said(volant_home, "run", "yearly")
        eventually(lambda: rows(volant_home)["yearly"]["failures"] == 1)
    assert "schedule of `yearly`: run fc-" in capfd.readouterr().err
