"""The harness. See the package.

python -m tests.crashes --kills 500 --seed 1 [--report FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tests.crashes.verify import Verdict, verify
from tests.crashes.victims import VICTIMS
from tests.support import ROOT, run_volant, stop_daemon

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

#: Kills between two comparisons.
ROUND = 25
#: Calls that one load makes; another follows when it has ended.
LOAD_CALLS = 600
#: Seconds between two kills.
PAUSE_S = (0.02, 0.6)


class Matrix:
    """One run: a home, its loads, and what was killed.

    Args:
        home: of the daemon.
        seed: of all choices.
        postgres: where the daemon keeps what outlives it; None for a file.
    """

    def __init__(self, home: Path, seed: int, postgres: PostgresServer | None) -> None:
        self.home = home
        self.postgres = postgres
        self.chance = random.Random(seed)
        self.journals: list[Path] = []
        self.killed: Counter[str] = Counter()
        self.verdict = Verdict()
        self.load: subprocess.Popen[bytes]
        self._next = 0
        self._names = sorted(VICTIMS if postgres is not None else VICTIMS.keys() - {"postgres"})
        self._pause = threading.Event()

    def deploy(self) -> None:
        """Deploy what the load calls."""
        done = run_volant("deploy", ROOT / "tests/crashes/shop.py", home=self.home)
        assert done.returncode == 0, done.stderr

    def begin_load(self) -> None:
        """Start a load that goes on where the last one was."""
        journal = self.home / f"acknowledged-{len(self.journals)}.jsonl"
        journal.touch()
        self.journals.append(journal)
        words = [str(journal), str(self._next), str(LOAD_CALLS)]
        self._next += LOAD_CALLS
        self.load = subprocess.Popen([sys.executable, "-m", "tests.crashes.load", *words], cwd=ROOT)

    def round(self, kills: int) -> None:
        """Kill some, let the load end, and compare."""
        self.begin_load()
        while kills:
            self._pause.wait(self.chance.uniform(*PAUSE_S))
            if self.load.poll() is not None:
                self.begin_load()
            name = self.chance.choice(self._names)
            if VICTIMS[name](self, self.chance):
                self.killed[name] += 1
                kills -= 1
        self.load.wait()
        url = "" if self.postgres is None else self.postgres.url
        found = verify(self.home, url, self.journals, self.killed["client"])
        self.verdict.counts = found.counts
        self.verdict.wrong += found.wrong


def report(matrix: Matrix, seed: int, seconds: float) -> str:
    """The page."""
    verdict = matrix.verdict
    rows = [f"| {name} | {count:,} |" for name, count in sorted(matrix.killed.items())]
    checks = [f"| {what} | {count:,} |" for what, count in sorted(verdict.counts.items())]
    wrong = [f"- {told}" for told in verdict.wrong] or ["Nothing was wrong."]
    return "\n".join([
        "# Crash matrix", "",
        "Made by `scripts/crashes`. Under a load of spawned calls, dicts, queues and volumes, one",
        "process at a time is ended with SIGKILL at a random instant; after each round what is",
        "there is compared with what was acknowledged (`tests/crashes`).", "",
        f"{sum(matrix.killed.values())} kills in {seconds:,.0f} s, seed {seed}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores.", "",
        "| killed | times |", "|---|---|", *rows, "",
        "| compared at the end | |", "|---|---|", *checks, "",
        *wrong, "",
    ])  # fmt: skip


def _postgres() -> PostgresServer:
    from tests.postgres import PostgresServer, find

    return PostgresServer(find())


def main() -> int:
    """Run the matrix; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="keep it in PostgreSQL")
    parser.add_argument("--report", type=Path, help="where the page is written to")
    given = parser.parse_args()
    begun = monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as directory:
        postgres = _postgres() if given.postgres else None
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        os.environ["VOLANT_HOME"] = str(home)
        if postgres is not None:
            (home / "config.toml").write_text(f'database_url = "{postgres.url}"\n')
        matrix = Matrix(home, given.seed, postgres)
        try:
            matrix.deploy()
            for done in range(0, given.kills, ROUND):
                matrix.round(min(ROUND, given.kills - done))
                print(f"{sum(matrix.killed.values())} kills, {len(matrix.verdict.wrong)} wrong")
        finally:
            stop_daemon(home)
            if postgres is not None:
                postgres.close()
    page = report(matrix, given.seed, monotonic() - begun)
    print(page)
    if given.report is not None:
        given.report.write_text(page, encoding="utf-8")
    return bool(matrix.verdict.wrong)


if __name__ == "__main__":
    sys.exit(main())
