"""A launcher that is killed while it starts: another one is, a bounded number of times."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import eventually
from volant import config as settings
from volantd import main
from volantd.agent.gpus import Installed
from volantd.agent.tasks import Tasks
from volantd.runtime import leftovers
from volantd.runtime.client import Launcher, RuntimeFailedError

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
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return rung, len(list(place.iterdir()))


def test_a_launcher_that_is_killed_at_its_start_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung, left = started(tmp_path, monkeypatch, main.LAUNCHER_TRIES - 1)
    assert rung in {"container", "process"}
    assert left == 0
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_whose_processes_were_still_dying_is_removed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "run"
    runs.mkdir()
    lock = leftovers.lock_run(str(runs), "dying")
    (runs / "dying").mkdir()
    config = settings.load({"VOLANT_HOME": str(tmp_path)})
    started_again = asyncio.Event()
    start = Launcher.start

    async def start_again(runs_dir: str, run_id: str) -> Launcher:
        made = await start(runs_dir, run_id)
        os.close(lock)
        started_again.set()
        return made

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group, lambda: None)
            services = main.Services(config, asyncio.get_running_loop(), tasks, Installed)
            await services.start_runtime(str(runs))
            monkeypatch.setattr(Launcher, "start", start_again)
            tasks.start(services.keep_runtime(str(runs)), "keep-runtime")
            os.kill(services.machine.launcher._process.pid, signal.SIGKILL)
            await started_again.wait()
            await asyncio.to_thread(eventually, lambda: not (runs / "dying.lock").exists())
            services.stop("the test is over")
            await services.machine.launcher.close()
            services.volumes.close()
            services.database.close()
            tasks.end()

    asyncio.run(run())
    assert list(runs.iterdir()) == []


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
