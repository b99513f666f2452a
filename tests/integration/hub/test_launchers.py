"""A launcher that is killed while it starts: another one is, a bounded number of times."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from volant import config as settings
from volantd import main
from volantd.agent.gpus import Installed
from volantd.agent.tasks import Tasks
from volantd.runtime.client import RuntimeFailedError

if TYPE_CHECKING:
    from pathlib import Path

STAND_IN = """#!/bin/sh
# An interpreter that is killed as long as there is something left to take.
kill=$(ls "{place}" | grep --max-count=1 ^kill-) && rm "{place}/$kill" && kill -9 $$
exec "{python}" "$@"
"""


def started(home: Path, monkeypatch: pytest.MonkeyPatch, kills: int) -> tuple[str, int]:
    """Start a runtime whose first launchers are killed: its rung, and the kills that are left."""
    place = home / "kills"
    place.mkdir()
    for number in range(kills):
        (place / f"kill-{number}").touch()
    stand_in = home / "python"
    stand_in.write_text(STAND_IN.format(place=place, python=sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr(main, "LAUNCHER_PAUSE_S", 0.0)

    async def start() -> str:
        runs = home / "run"
        runs.mkdir()
        config = settings.load({"VOLANT_HOME": str(home)})
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group, lambda: None)
            services = main.Services(config, asyncio.get_running_loop(), tasks, Installed)
            try:
                await services.start_runtime(str(runs))
                await services.machine.launcher.close()
            finally:
                services.volumes.close()
                services.database.close()
                tasks.end()
            return services.rung

    try:
        rung = asyncio.run(start())
    except* RuntimeFailedError as group:
        raise group.exceptions[0] from None
    return rung, len(list(place.iterdir()))


def test_a_launcher_that_is_killed_at_its_start_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung, left = started(tmp_path, monkeypatch, main.LAUNCHER_TRIES - 1)
    assert rung in {"container", "process"}
    assert left == 0
    assert list((tmp_path / "run").iterdir()) == []


def test_one_that_never_comes_up_is_given_up_and_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rf"{main.LAUNCHER_TRIES} times in a row: the launcher ended with status -9"
    with pytest.raises(RuntimeFailedError, match=expected):
        started(tmp_path, monkeypatch, main.LAUNCHER_TRIES + 1)
    assert list((tmp_path / "kills").iterdir()) == [
        tmp_path / "kills" / f"kill-{main.LAUNCHER_TRIES}"
    ]
    assert list((tmp_path / "run").iterdir()) == []
