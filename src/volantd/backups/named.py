"""The contents that a database names: without them, what it keeps is worth nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.hub.deployed import described
from volantd.store import calls, descriptions, dicts
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from pathlib import Path


def named_by(path: Path) -> set[str]:
    """The hashes of all contents that a database of the present schema names."""
    engine = sqlite.open_engine(str(path), None)
    try:
        with engine.begin() as connection:
            named = set(calls.digests(connection))
            named |= {file for file, _ in dicts.files(connection)}
            for find in descriptions.finders(connection):
                for raw in find(connection):
                    named |= described.named_by(raw)
    finally:
        engine.dispose()
    return named
