"""The contents that a database names: without them, what it keeps is worth nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from volant.errors import DataLossError
from volantd.hub.deployed import described
from volantd.sealing.sealer import Sealer
from volantd.store import calls, descriptions, dicts
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from volantd.sealing.keyring import Keyring


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """A connection to a file that nobody writes to."""
    engine = sqlite.open_engine(str(path), None)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def named_by(connection: Connection, keyring: Keyring) -> set[str]:
    """The hashes of all contents that a database of the present schema names.

    Args:
        connection: to the database.
        keyring: the keys that its values are sealed with.

    Raises:
        DataLossError: when it is damaged, or a key is not there.
        PermissionDeniedError: when others can read the keys.
    """
    sealer = Sealer(keyring)
    try:
        named = set(calls.digests(connection))
        named |= {file for file, _ in dicts.files(connection)}
        for find in descriptions.finders(connection):
            for place, sealed in find(connection):
                named |= described.named_by(sealer.open(place, sealed))
    except ValueError as error:
        raise DataLossError(f"the database is damaged: {error}") from error
    return named
