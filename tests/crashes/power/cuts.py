"""Cuts at random moments of a record, and what the next daemon finds after each."""

from __future__ import annotations

import asyncio
import filecmp
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from tests.crashes.power.disk import Disk, Mode, Op, entries
from tests.crashes.verify import Verdict
from tests.support import ROOT, stop_daemon
from volantd import lent
from volantd.blobs.contents import Contents
from volantd.blobs.files import BlobFiles
from volantd.core.volumes import trees
from volantd.sealing.anew import COLUMNS
from volantd.sealing.sealer import place_of
from volantd.store.database import Database
from volantd.store.schema import call_inputs, call_results, entries as dict_entries, volume_commits
from volantd.volumes.nodes import LostContentError, StoredNodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from tests.crashes.power.disk import Entry

#: How long the look at one cut may take.
WITHIN_S = 180.0
#: How often each mode is chosen.
MODES = {Mode.NOTHING: 3, Mode.NAMES: 2, Mode.BYTES: 1, Mode.SOME: 5, Mode.ALL: 1}
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class Cuts:
    """What was cut, and what was found.

    Attributes:
        counts: how often with which of the writes that were on their way.
        verdict: the counts of all cuts together, and all that was ever wrong.
    """

    counts: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    #: how many these are of
    records: int = 0

    def add(self, other: Cuts) -> None:
        """Count others along."""
        self.counts += other.counts
        self.verdict.counts += other.verdict.counts
        self.verdict.wrong += other.verdict.wrong


def moments(record: Sequence[Entry], count: int, chance: random.Random) -> list[int]:
    """Indexes of entries ahead of which the power goes.

    Half of them are anywhere, the others where most depends on it: just behind what was
    acknowledged, just ahead of the end of a sync, and beside a change of names. One is at the end.
    """
    names = {Op.CREATE, Op.MKDIR, Op.UNLINK, Op.RENAME, Op.LINK}
    told = [at + 1 for at, one in enumerate(record) if one.op is Op.TOLD]
    syncs = [at for at, one in enumerate(record) if one.op is Op.SYNC]
    named = [at + chance.randint(0, 1) for at, one in enumerate(record) if one.op in names]
    choices = [told, syncs, named]
    found = [
        chance.randrange(1, len(record)) if chance.random() < 0.5
        else chance.choice(chance.choice(choices))
        for _ in range(count - 1)
    ]  # fmt: skip
    return [*sorted(found), len(record)]


def cut(record: bytes, home: Path, count: int, seed: int) -> Cuts:
    """Cut the power so often, and look at each.

    Args:
        record: of daemons in `home`.
        home: is made anew for each cut.
        count: of cuts.
        seed: of what is chosen.
    """
    chance = random.Random(seed)
    found = Cuts()
    gone_through = list(entries(record))
    disk, told = Disk(), b""
    for before, at in pairwise([0, *moments(gone_through, count, chance)]):
        for entry in gone_through[before:at]:
            disk.take(entry)
            told += entry.data if entry.op is Op.TOLD else b""
        [mode] = chance.choices(list(MODES), list(MODES.values()))
        shutil.rmtree(home, ignore_errors=True)
        disk.cut(home, mode, random.Random(f"{seed}/{at}"))
        _forget_boot(home)
        verdict = look(home, told)
        found.counts[mode.value] += 1
        found.verdict.counts += verdict.counts
        found.verdict.wrong += [f"{mode.value}, entry {at}: {one}" for one in verdict.wrong]
    return found


def look(home: Path, told: bytes) -> Verdict:
    """Start a daemon there, compare with what was acknowledged, and look through its files."""
    journal = home.with_name("told.jsonl")
    journal.write_bytes(told)
    environ = {**os.environ, "VOLANT_HOME": str(home)}
    words = [sys.executable, "-m", "tests.crashes.verify", str(home), "1", str(journal)]
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=WITHIN_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Verdict(wrong=[f"it was not looked at within {WITHIN_S:g} s"])
    finally:
        stop_daemon(home)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        return Verdict(wrong=[f"it could not be looked at: {last}"])
    verdict = Verdict(**json.loads(done.stdout.splitlines()[-1]))
    verdict.counts = Counter(verdict.counts)
    asyncio.run(_look_through(home, verdict))
    _lent(home, verdict)
    return verdict


def _forget_boot(home: Path) -> None:
    """The machine has started again since: whoever wrote down which start it was finds another."""
    boot = _BOOT.read_bytes().strip()
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 4096:
            content = path.read_bytes()
            if boot in content:
                path.write_bytes(content.replace(boot, boot[::-1]))


# -- without a daemon


async def _look_through(home: Path, verdict: Verdict) -> None:
    """Whatever is named is there, and what it was; whatever is sealed can be opened."""
    database = Database(str(home))
    try:
        await database.run(lambda connection: _contents(connection, home, verdict))
        await database.run(lambda connection: _trees(connection, home, verdict))
        await database.run(lambda connection: _sealed(connection, database, verdict))
    finally:
        database.close()


def _lent(home: Path, verdict: Verdict) -> None:
    """What web functions are lent is whole: it is not synced, so it was made anew."""
    [found] = [one for one in (home / "lent").iterdir() if one.is_dir()]
    with tempfile.TemporaryDirectory() as place:
        made = Path(lent.directory(place))
        files = [str(one.relative_to(made)) for one in made.rglob("*") if one.is_file()]
        _, other, lacking = filecmp.cmpfiles(made, found, files, shallow=False)
    verdict.expect("lent", not other + lacking, f"what is lent lacks {(other + lacking)[:3]}")


def _contents(connection: Connection, home: Path, verdict: Verdict) -> None:
    """Contents of calls, and values of dicts."""
    blobs = BlobFiles(str(home / "blobs"))
    for table in (call_inputs, call_results):
        query = select(table.c.digest).where(table.c.digest.is_not(None)).distinct()
        for digest in connection.execute(query).scalars():
            content = blobs.get(digest)
            so = content is not None and hashlib.sha256(content).hexdigest() == digest
            verdict.expect("contents", so, f"the content {digest} of {table.name} is not there")
    query = select(dict_entries.c.file).where(dict_entries.c.file.is_not(None))
    for name in connection.execute(query).scalars():
        path = home / "dicts" / name[:2] / name
        so = path.exists() and hashlib.sha256(path.read_bytes()).hexdigest()[:32] == name[32:]
        verdict.expect("contents", so, f"the value {name} of a dict is not there")


def _trees(connection: Connection, home: Path, verdict: Verdict) -> None:
    """Every commit of every volume: its directories and its files."""
    contents = Contents(str(home / "volumes" / "contents"))
    nodes = StoredNodes(contents)
    for root in connection.execute(select(volume_commits.c.root)).scalars():
        named: set[str] = set()
        try:
            trees.reached(nodes, trees.decode_root(root), named)
        except (ValueError, LookupError, LostContentError) as error:
            verdict.expect("commits", False, f"a tree is broken: {error!r}")
            continue
        lacking = [one for one in named if not _is_whole(contents, one)]
        verdict.expect("commits", not lacking, f"of a commit there are not: {lacking[:3]}")
    contents.close()


def _is_whole(contents: Contents, digest: str) -> bool:
    data = contents.get(digest)
    path = Path(contents.path(digest))
    if path.exists():
        return data is not None or hashlib.sha256(path.read_bytes()).hexdigest() == digest
    return data is not None and hashlib.sha256(data).hexdigest() == digest


def _sealed(connection: Connection, database: Database, verdict: Verdict) -> None:
    """All that is sealed can be opened with the keys that are there."""
    for column in COLUMNS:
        key = list(column.table.primary_key.columns)
        rows = connection.execute(select(column, *key).where(column.is_not(None)))
        for sealed, *row in rows:
            place = place_of(f"{column.table.name}.{column.name}", *row)
            try:
                database.sealer.open(place, bytes(sealed))
            except Exception as error:  # noqa: BLE001 - whatever it is, it was not opened
                verdict.expect("sealed values", False, f"{place}: {error!r}")
            else:
                verdict.counts["sealed values"] += 1
