"""Another sealing key in place of the one before, while the daemon goes on.

    another key ─► keys: old, new ─► all sealed anew, one transaction ─► keys: new

A kill in between leaves both keys and a database that is readable with them; the next daemon goes
on from there.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volant.errors import Error
from volantd.images.requests import later
from volantd.sealing.keyring import new_key

if TYPE_CHECKING:
    from volantd.hub.session import Session
    from volantd.store.database import Database

log = logging.getLogger(__name__)


async def rotate(database: Database) -> dict[str, Any]:
    """Have everything sealed with a key that nobody has seen, and forget the one before.

    Returns:
        The id of the new key, how many values were sealed anew, and how many were `broken`.

    Raises:
        Error: when the database or the keys cannot be used; what is kept stays readable.
    """
    await asyncio.to_thread(database.sealer.keyring.begin, new_key())
    return await _finish(database)


async def go_on(database: Database) -> None:
    """Finish what a kill has broken off, if it has."""
    try:
        keys = await asyncio.to_thread(database.sealer.keyring.all)
        if len(keys) > 1 and database.exists:
            await _finish(database)
    except (Error, OSError) as error:  # whoever needs what is sealed is told
        log.warning("sealing_key_not_changed", extra={"fields": {"error": str(error)}})


async def _finish(database: Database) -> dict[str, Any]:
    from volantd.sealing.anew import seal_anew

    keyring = database.sealer.keyring
    key = keyring.current()
    # Whatever is written is sealed on the same thread, so before this or with the new key.
    resealed = await database.run(lambda connection: seal_anew(connection, database.sealer))
    await asyncio.to_thread(keyring.keep, key)
    told = {"key_id": key.key_id, **asdict(resealed)}
    log.info("sealing_key_changed", extra={"fields": told})
    return told


async def secret_rotate_key(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make another sealing key; answers when nothing needs the old one."""
    async with session.hub.secrets.key_lock:
        return await rotate(session.hub.services.database)


def _check(message: dict[str, Any]) -> None:
    """It has no fields."""


HANDLERS = [later(secret_rotate_key, _check, images=False)]
