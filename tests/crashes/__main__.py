"""The harness. See the package.

python -m tests.crashes --kills 500 --seed 1 [--report FILE]
python -m tests.crashes --power-cuts 300 --seed 1 [--report FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tests.crashes.load import AHEAD
from tests.crashes.power.cuts import Cuts, cut
from tests.crashes.power.recording import record
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
#: Cuts of the power of which one record is made; how many loads are in it, and calls in each.
CUTS_OF_ONE = 100
CUT_LOADS, CUT_CALLS = 2, 120
#: What the page begins with, and its parts in their order, one for each way to run this.
HEAD = """# Crash matrix

Made by `scripts/crashes`. Under a load that changes all that is durable, one process at
a time is ended with SIGKILL at a random instant; after each round what is there is
compared with what was acknowledged (`tests/crashes`).
"""
KILLS, KILLS_POSTGRES = "## Kills, kept in SQLite", "## Kills, kept in PostgreSQL"
POWER_CUTS = "## Power cuts"
PARTS = (KILLS, KILLS_POSTGRES, POWER_CUTS)


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
        for words in AHEAD:
            done = run_volant(*words, home=self.home)
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
    """What the page says of kills."""
    verdict = matrix.verdict
    rows = [f"| {name} | {count:,} |" for name, count in sorted(matrix.killed.items())]
    checks = [f"| {what} | {count:,} |" for what, count in sorted(verdict.counts.items())]
    wrong = [f"- {told}" for told in verdict.wrong] or ["Nothing was wrong."]
    return "\n".join([
        KILLS if matrix.postgres is None else KILLS_POSTGRES, "",
        f"{sum(matrix.killed.values())} kills in {_where(seed, seconds)}", "",
        "| killed | times |", "|---|---|", *rows, "",
        "| compared at the end | |", "|---|---|", *checks, "",
        *wrong, "",
    ])  # fmt: skip


def _where(seed: int, seconds: float) -> str:
    python = platform.python_version()
    return f"{seconds:,.0f} s, seed {seed}, Python {python}, {os.cpu_count()} cores."


def cut_power(count: int, seed: int) -> Cuts:
    """So many cuts of the power, some of each of several records."""
    found = Cuts()
    for done in range(0, count, CUTS_OF_ONE):
        with tempfile.TemporaryDirectory(prefix="power-") as directory:
            written = record(Path(directory), CUT_CALLS, CUT_LOADS)
            some = min(CUTS_OF_ONE, count - done)
            found.add(cut(written, Path(directory) / "home", some, seed + done))
        found.records += 1
        print(f"{sum(found.counts.values())} cuts, {len(found.verdict.wrong)} wrong")
    return found


def report_cuts(cuts: Cuts, seed: int, seconds: float) -> str:
    """What the page says of power cuts."""
    verdict = cuts.verdict
    rows = [f"| {name} | {count:,} |" for name, count in sorted(cuts.counts.items())]
    checks = [f"| {what} | {count:,} |" for what, count in sorted(verdict.counts.items())]
    wrong = [f"- {told}" for told in verdict.wrong] or ["Nothing was wrong."]
    return "\n".join([
        POWER_CUTS, "",
        "Made by `scripts/crashes --power-cuts`. All that daemons do to their files under load is",
        "recorded; from that the directory is made as a disk may have it if the power goes at",
        "some moment: what was synced is there, of the rest only what is said here. Another daemon",
        "starts there, and what it has is compared with what was acknowledged until then; then",
        "each content, commit and sealed value is looked at (`tests/crashes/power`).", "",
        f"{sum(cuts.counts.values())} cuts of {cuts.records} records in {_where(seed, seconds)}",
        "", "| there of what was not synced | cuts |", "|---|---|", *rows, "",
        "| compared after all cuts | |", "|---|---|", *checks, "",
        *wrong, "",
    ])  # fmt: skip


def put(path: Path, text: str) -> None:
    """Put one part of the page in the place of the one before; the others stay."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = {one.partition("\n")[0]: one for one in re.split(r"(?m)^(?=## )", before)}
    parts[text.partition("\n")[0]] = text
    there = [parts[name].strip() + "\n" for name in PARTS if name in parts]
    path.write_text("\n".join([HEAD, *there]), encoding="utf-8")


def _postgres() -> PostgresServer:
    from tests.postgres import PostgresServer, find

    return PostgresServer(find())


def main() -> int:
    """Run the matrix; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--power-cuts", type=int, default=0, help="instead of kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="keep it in PostgreSQL")
    parser.add_argument("--report", type=Path, help="where the page is written to")
    given = parser.parse_args()
    begun = monotonic()
    if given.power_cuts:
        cuts = cut_power(given.power_cuts, given.seed)
        page, wrong = report_cuts(cuts, given.seed, monotonic() - begun), cuts.verdict.wrong
    else:
        matrix = _killed(given.kills, given.seed, in_postgres=given.postgres)
        page, wrong = report(matrix, given.seed, monotonic() - begun), matrix.verdict.wrong
    print(page)
    if given.report is not None:
        put(given.report, page)
    return bool(wrong)


def _killed(kills: int, seed: int, *, in_postgres: bool) -> Matrix:
    """The matrix after so many kills."""
    with tempfile.TemporaryDirectory(prefix="crashes-") as directory:
        postgres = _postgres() if in_postgres else None
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        os.environ["VOLANT_HOME"] = str(home)
        if postgres is not None:
            (home / "config.toml").write_text(f'database_url = "{postgres.url}"\n')
        matrix = Matrix(home, seed, postgres)
        try:
            matrix.deploy()
            for done in range(0, kills, ROUND):
                matrix.round(min(ROUND, kills - done))
                print(f"{sum(matrix.killed.values())} kills, {len(matrix.verdict.wrong)} wrong")
        finally:
            stop_daemon(home)
            if postgres is not None:
                postgres.close()
    return matrix


if __name__ == "__main__":
    sys.exit(main())
