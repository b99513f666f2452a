"""The contents that a database names: without them, what it keeps is worth nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant.errors import DataLossError
from volantd.hub.deployed import described
from volantd.sealing import anew
from volantd.sealing.sealer import Sealer
from volantd.store import calls, descriptions, dicts
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from volantd.sealing.keyring import Keyring


def keys_of(path: Path) -> set[str]:
    """The ids of all keys that values of a database of the present schema are sealed with."""
    engine = sqlite.open_engine(str(path), None)
    try:
        with engine.begin() as connection:
            return anew.keys_in_use(connection)
    finally:
        engine.dispose()


def named_by(path: Path, keyring: Keyring) -> set[str]:
    """The hashes of all contents that a database of the present schema names.

    Args:
        path: of the database.
        keyring: the keys that its values are sealed with.

    Raises:
        DataLossError: when it is damaged, or a key is not there.
        PermissionDeniedError: when others can read the keys.
    """
    sealer = Sealer(keyring)
    engine = sqlite.open_engine(str(path), None)
    try:
        with engine.begin() as connection:
            named = set(calls.digests(connection))
            named |= {file for file, _ in dicts.files(connection)}
            for find in descriptions.finders(connection):
                for place, sealed in find(connection):
                    named |= described.named_by(sealer.open(place, sealed))
    except ValueError as error:
        raise DataLossError(f"{path} is damaged: {error}") from error
    finally:
        engine.dispose()
    return named
