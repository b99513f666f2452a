"""The contents that a database names: without them, what it keeps is worth nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant.wire import values
from volantd.hub.deployed import described
from volantd.store import calls, deployments
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from pathlib import Path


def named_by(path: Path) -> set[str]:
    """The hashes of all contents that a database of the present schema names."""
    engine = sqlite.open_engine(str(path), None)
    try:
        with engine.begin() as connection:
            kept = deployments.descriptions(connection) + calls.app_descriptions(connection)
            named = set(calls.digests(connection))
    finally:
        engine.dispose()
    for raw in kept:
        named |= described.sizes_of(values.decode_map(raw)).keys()
    return named
