"""kill -9 in the middle of commits: what was acknowledged is there, and nothing by halves."""

from __future__ import annotations

import asyncio
import random
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.volumes import committing
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 6
WITHIN_S = 60.0


@pytest.mark.slow
def test_a_killed_daemon_leaves_the_last_state_that_it_acknowledged_or_the_next(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)
    acknowledged = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.volumes.committing", tmp_path],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for _ in range(chance.randrange(1, 8)):
                acknowledged = int(process.stdout.readline())
            # Anywhere in the next commit: nobody says when that is.
            select.select([], [], [], chance.random() * 0.03)
        finally:
            process.kill()
            said = [int(line) for line in process.stdout]
            process.wait(WITHIN_S)
            process.stdout.close()
        acknowledged = max([acknowledged, *said])
        number, content = asyncio.run(committing.check(tmp_path))
        assert number in (acknowledged, acknowledged + 1)
        assert content == number
        acknowledged = number
