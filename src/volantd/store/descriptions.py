"""Where the database keeps descriptions of apps: what these name must not be removed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from volantd.store import calls, deployments

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    #: Reads some descriptions, each with its place, sealed for it; few, so that others are not kept
    #: from the database for long.
    Find = Callable[[Connection], list[tuple[str, bytes]]]


def finders(connection: Connection) -> list[Find]:
    """What reads all descriptions that are kept now: of versions, and of apps with calls."""
    return [
        *(partial(_of_version, *version[:2]) for version in deployments.kept(connection)),
        *(partial(_of_app, app_id) for app_id in calls.kept_app_ids(connection)),
        calls.versions_named,
    ]


def _of_version(app_id: str, version: int, connection: Connection) -> list[tuple[str, bytes]]:
    found = deployments.description_of(connection, app_id, version)
    place = deployments.place_of_description(app_id, version)
    return [] if found is None else [(place, found)]  # it may have gone since


def _of_app(app_id: str, connection: Connection) -> list[tuple[str, bytes]]:
    found = calls.app_of(connection, app_id)
    return [] if found is None else [(calls.place_of_app(app_id), found.description)]
