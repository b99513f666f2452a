"""Deployed apps in the database: what is kept of them, and the queries. Each runs in a transaction.

Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from volantd.sealing.sealer import place_of
from volantd.store.schema import apps, functions, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

#: Versions of one app that are kept; those before can neither be shown nor be gone back to.
VERSIONS_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version of an app, but for its content."""

    version: int
    action: str
    of_version: int | None
    tag: str
    strategy: str
    deployed_at: float
    deployed_by: str
    commit_id: str | None
    branch: str | None
    dirty: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRow:
    """An app that is deployed, with the version that is served."""

    app_id: str
    name: str
    #: the id of the one that it is in
    environment: str
    created_at: float
    served: VersionRow
    #: sealed
    description: bytes
    #: name -> id, also of functions that only earlier versions had
    function_ids: dict[str, str]


_OF_A_VERSION = [column for column in versions.c if column.name not in ("app_id", "description")]


def place_of_description(app_id: str, version: int) -> str:
    """What the description of a version is sealed for."""
    return place_of("versions.description", app_id, version)


def deployed(connection: Connection) -> list[AppRow]:
    """All apps that are deployed."""
    ids = connection.execute(select(apps.c.app_id).where(apps.c.state == "deployed")).scalars()
    return [app for app_id in ids.all() if (app := _app(connection, app_id)) is not None]


def _app(connection: Connection, app_id: str) -> AppRow | None:
    served = connection.execute(
        select(apps.c.name, apps.c.created_at, apps.c.environment, versions)
        .join(versions, apps.c.app_id == versions.c.app_id)
        .where(apps.c.app_id == app_id, versions.c.version == apps.c.version)
    ).one_or_none()
    if served is None:
        return None
    ids = connection.execute(
        select(functions.c.name, functions.c.function_id).where(functions.c.app_id == app_id)
    ).all()
    return AppRow(
        app_id=app_id, name=served.name, environment=served.environment,
        created_at=served.created_at, served=_version(served._mapping),
        description=served.description, function_ids=dict(ids),
    )  # fmt: skip


def _version(row: Mapping[Any, Any]) -> VersionRow:
    known = {column.name: row[column.name] for column in _OF_A_VERSION}
    return VersionRow(**{
        **known, "dirty": None if known["dirty"] is None else bool(known["dirty"]),
    })  # fmt: skip


def add_version(
    connection: Connection, app_id: str, name: str, row: VersionRow, description: bytes,
    function_ids: Mapping[str, str], environment: str = "main",
) -> None:  # fmt: skip
    """Keep a version as the one that is served; with the first one the app begins.

    Args:
        description: its content, sealed.
        environment: the id of the one that the app is in.
    """
    if row.version == 1:
        connection.execute(insert(apps).values(
            app_id=app_id, name=name, state="deployed", version=1, created_at=row.deployed_at,
            environment=environment,
        ))  # fmt: skip
    else:
        connection.execute(update(apps).where(apps.c.app_id == app_id).values(version=row.version))
    known = {column.name: getattr(row, column.name) for column in _OF_A_VERSION}
    connection.execute(insert(versions).values(app_id=app_id, description=description, **known))
    connection.execute(delete(versions).where(
        versions.c.app_id == app_id, versions.c.version <= row.version - VERSIONS_KEPT,
    ))  # fmt: skip
    connection.execute(delete(functions).where(functions.c.app_id == app_id))
    if function_ids:
        connection.execute(insert(functions), [
            {"app_id": app_id, "name": one, "function_id": function_id}
            for one, function_id in function_ids.items()
        ])  # fmt: skip


def stop(connection: Connection, app_id: str, stopped_at: float) -> None:
    """Have an app deployed no more; its history stays."""
    connection.execute(
        update(apps).where(apps.c.app_id == app_id).values(state="stopped", stopped_at=stopped_at)
    )


def history(connection: Connection, app_id: str) -> list[VersionRow]:
    """The versions that are kept of an app, the latest first."""
    rows = connection.execute(
        select(*_OF_A_VERSION)
        .where(versions.c.app_id == app_id)
        .order_by(versions.c.version.desc())
    )
    return [_version(row._mapping) for row in rows]


def description_of(connection: Connection, app_id: str, version: int) -> bytes | None:
    """The sealed content of one version, None if it is not kept."""
    found: bytes | None = connection.execute(
        select(versions.c.description).where(
            versions.c.app_id == app_id, versions.c.version == version
        )
    ).scalar()
    return found


def kept(connection: Connection) -> list[tuple[str, int, str]]:
    """All versions of apps that are deployed: the app's id, the number, the environment's id."""
    rows = connection.execute(
        select(versions.c.app_id, versions.c.version, apps.c.environment)
        .join(apps, apps.c.app_id == versions.c.app_id)
        .where(apps.c.state == "deployed")
    )
    return [(row.app_id, row.version, row.environment) for row in rows]


def stopped(connection: Connection, name: str, environment: str = "main") -> str | None:
    """The id of the app of a name that was stopped last in an environment, None for none.

    Args:
        connection: the database's.
        name: that it had.
        environment: the id of that.
    """
    found: str | None = (
        connection.execute(
            select(apps.c.app_id)
            .where(
                apps.c.name == name,
                apps.c.state == "stopped",
                apps.c.environment == environment,
            )
            .order_by(apps.c.stopped_at.desc())
        )
        .scalars()
        .first()
    )
    return found
