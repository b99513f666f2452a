"""What is there, compared with what was acknowledged."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, select

import volant
from volant.errors import Error
from volantd.store.schema import call_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long an acknowledged call may take to its end once nothing is killed any more.
WITHIN_S = 120.0


@dataclass
class Verdict:
    """What was looked at, and everything that is not as it was promised."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, so: bool, told: str) -> None:
        """Count one thing that was looked at."""
        self.counts[what] += 1
        if not so:
            self.wrong.append(told)


def verify(home: Path, url: str, journals: list[Path], clients_killed: int) -> Verdict:
    """Compare; the daemon of `home` is used, and started if it is not there."""
    verdict = Verdict()
    lines = [line for path in journals for line in _lines(path)]
    _calls(verdict, lines)
    _entries(verdict, lines)
    _items(verdict, lines, clients_killed)
    _files(verdict, lines)
    _rows(verdict, home, url)
    _leftovers(verdict, home)
    return verdict


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):  # else the load was killed while it wrote
            yield json.loads(line)


def _calls(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """Each acknowledged call has one result, and who saw it saw that one."""
    results: dict[str, list[Any]] = {}
    for line in lines:
        if line["did"] != "spawned":
            continue
        try:
            result = volant.FunctionCall.from_id(line["call"]).get(timeout=WITHIN_S)
        except (Error, TimeoutError) as error:
            verdict.expect("calls", False, f"{line['call']}: {type(error).__name__}: {error}")
            continue
        results[line["call"]] = list(result)
        verdict.expect("calls", result[0] == line["number"], f"{line['call']} gave {result}")
    for line in lines:
        if line["did"] == "seen" and line["call"] in results:
            told = f"{line['call']} was {line['result']}, and is {results[line['call']]}"
            verdict.expect("results seen", line["result"] == results[line["call"]], told)


def _entries(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """What was put is there, and what was popped is not."""
    put = {line["key"] for line in lines if line["did"] == "put"}
    popped = {line["key"] for line in lines if line["did"] == "popped"}
    entries = volant.Dict.from_name("crashes", create_if_missing=True)
    there = dict(entries.items())
    for key in put:
        if key in popped:
            verdict.expect("entries", key not in there, f"{key} was popped, and is there")
        elif key % 5:  # the others may have been popped without an answer
            verdict.expect("entries", there.get(key) == -key, f"{key} is {there.get(key)}")


def _items(verdict: Verdict, lines: list[dict[str, Any]], clients_killed: int) -> None:
    """What was queued is there once, or was taken once; each killed client may have had one."""
    queued = {line["item"] for line in lines if line["did"] == "queued"}
    taken = Counter(line["item"] for line in lines if line["did"] == "taken")
    items = volant.Queue.from_name("crashes", create_if_missing=True)
    there = Counter(items.iterate())
    verdict.counts["items"] += len(queued)
    for item, count in (taken + there).items():
        if count != 1:
            verdict.wrong.append(f"item {item} is there {there[item]} times, taken {taken[item]}")
    lost = queued - taken.keys() - there.keys()
    if len(lost) > clients_killed:
        verdict.wrong.append(f"items {sorted(lost)} are lost, {clients_killed} clients were killed")


def _files(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """What was committed is in the volume."""
    volume = volant.Volume.from_name("crashes", create_if_missing=True)
    for line in lines:
        if line["did"] == "committed":
            try:
                found = b"".join(volume.read_file(line["path"]))
            except (Error, OSError) as error:
                verdict.expect("files", False, f"{line['path']}: {type(error).__name__}: {error}")
                continue
            whole = found == str(line["number"]).encode() * 1000
            verdict.expect("files", whole, f"{line['path']} is not what was committed")


def _rows(verdict: Verdict, home: Path, url: str) -> None:
    """The database is whole, and no input has two results."""
    if not url:
        with sqlite3.connect(f"file:{home / 'volant.db'}?mode=ro", uri=True) as database:
            [(told,)] = database.execute("PRAGMA integrity_check").fetchall()
            verdict.expect("databases", told == "ok", f"the database is not whole: {told}")
    address = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(address or f"sqlite:///{home / 'volant.db'}")
    ends: dict[str, int] = {}
    query = select(call_results.c.call_id, call_results.c.first, call_results.c["count"])
    with engine.connect() as connection:
        for call, first, count in connection.execute(query.order_by(*call_results.primary_key)):
            verdict.expect("results stored", first >= ends.get(call, 0), f"{call}: {first} twice")
            ends[call] = first + count
    engine.dispose()


def _leftovers(verdict: Verdict, home: Path) -> None:
    """Nothing of dead daemons is mounted or runs."""
    present = {name.removesuffix(".lock") for name in os.listdir(home / "run")}
    verdict.expect("runs", len(present) == 1, f"of dead daemons there is {sorted(present)}")
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line for line in file if f"{home}/run" in line]
    strange = [line for line in mounts if not any(run in line for run in present)]
    verdict.expect("mounts", not strange, f"mounts of dead daemons: {strange[:3]}")
