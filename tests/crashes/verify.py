"""What is there, compared with what was acknowledged.

    python -m tests.crashes.verify HOME CLIENTS_KILLED JOURNAL...

That says what it has found as JSON, for who has to look at several daemons.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, select

import volant
from tests.crashes.load import key_of, large_of, times_of, value_of
from volant.cli.shared import hub
from volant.errors import Error
from volantd.store.deployments import VERSIONS_KEPT
from volantd.store.schema import call_results

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    _secret(verdict, lines)
    _versions(verdict, lines)
    _tokens(verdict, lines)
    _rows(verdict, home, url)
    _leftovers(verdict, home)
    return verdict


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):  # else the load was killed while it wrote
            yield json.loads(line)


def _calls(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """Each acknowledged call has one result, and who saw it saw that one."""
    results: dict[str, str] = {}
    work = volant.Function.from_name("crashes", "work")
    if any(line["did"] == "ahead" for line in lines):
        verdict.expect("apps", work.object_id != "", "nothing is deployed")
    for line in lines:
        if line["did"] != "spawned":
            continue
        try:
            result = volant.FunctionCall.from_id(line["call"]).get(timeout=WITHIN_S)
        except (Error, TimeoutError) as error:
            verdict.expect("calls", False, f"{line['call']}: {type(error).__name__}: {error}")
            continue
        number = line["number"]
        results[line["call"]] = result[1]
        so = (result[0], result[2]) == (number, large_of(number))
        verdict.expect("calls", so, f"{line['call']} gave {result[:2]}")
        key = key_of(number)
        if key is not None:
            again = work.with_idempotency_key(key).spawn(number, large_of(number))
            told = f"{key} was {line['call']}, and is {again.object_id}"
            verdict.expect("keys", again.object_id == line["call"], told)
    for line in lines:
        if line["did"] == "seen" and line["call"] in results:
            told = f"{line['call']} was {line['token']}, and is {results[line['call']]}"
            verdict.expect("results seen", line["token"] == results[line["call"]], told)


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
            so = there.get(key) == value_of(key)
            verdict.expect("entries", so, f"{key} is {str(there.get(key))[:40]}")


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
            number = line["number"]
            whole = found == str(number).encode() * times_of(number)
            verdict.expect("files", whole, f"{line['path']} is not what was committed")


def _secret(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """A container is given what the secret was last, or what was on its way then."""
    numbers = [line["number"] for line in lines if line["did"] == "secret"]
    if numbers:
        told: int = volant.Function.from_name("crashes", "tell").remote()
        verdict.expect("secrets", told >= max(numbers), f"the secret is {told}, not {max(numbers)}")


def _versions(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """Each version is there, and the latest one is served."""
    if not any(line["did"] == "deployed" for line in lines):
        return
    history = hub.ask("app_history", app="crashes-served")
    assert history is not None
    versions = {one["version"]: one for one in history["versions"]}
    there = {one["tag"] for one in versions.values()}
    # Of the earliest ones only so many are kept.
    begun = versions[min(versions)]["deployed_at"] if len(versions) >= VERSIONS_KEPT else 0.0
    made = ("deployed", "rolled back")
    lines = [line for line in lines if line["did"] in made and line["at"] > begun]
    for tag in {line["tag"] for line in lines if line["did"] == "deployed"}:
        verdict.expect("deployments", tag in there, f"version {tag} is not there")
    for line in lines:
        if line["did"] == "rolled back":
            version = line["version"]
            verdict.expect("rollbacks", version in versions, f"version {version} is not there")
    served = versions[max(versions)]
    verdict.expect("served", served["served"], f"{served} is the latest, and not served")
    while served["of_version"]:
        served = versions[served["of_version"]]
    told = volant.Function.from_name("crashes-served", "told").remote()
    verdict.expect("served", f"n{told}" == served["tag"], f"{served} is served, and tells {told}")


def _tokens(verdict: Verdict, lines: list[dict[str, Any]]) -> None:
    """Each token is there."""
    there = {row["key"] for row in (hub.ask("token_list") or {"tokens": []})["tokens"]}
    for line in lines:
        if line["did"] == "token":
            verdict.expect("tokens", line["key"] in there, f"token {line['key']} is not there")


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


if __name__ == "__main__":
    found = verify(Path(sys.argv[1]), "", [Path(one) for one in sys.argv[3:]], int(sys.argv[2]))
    print(json.dumps({"counts": found.counts, "wrong": found.wrong}))
