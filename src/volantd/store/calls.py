"""Durable calls in the database. Functions that write take many rows at once, for `journal.Kind`.

Times are seconds since 1970. Indexes of inputs count from 0 within a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from volantd.sealing.sealer import place_of
from volantd.store import deployments
from volantd.store.journal import Kind
from volantd.store.schema import apps, call_inputs, call_results, calls, kept_apps, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

#: Calls whose rows are removed in one transaction: others wait meanwhile.
REMOVED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call."""

    call_id: str
    app_id: str
    app: str
    version: int
    pinned: int
    function: str
    method: str | None
    #: sealed
    variant: bytes | None
    origin: str
    parent: str | None
    parent_index: int | None
    inputs: int
    closed: int
    state: str
    faults: int
    created_at: float
    finished_at: float | None
    made: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Inputs or results that came together."""

    first: int
    count: int
    section: bytes
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What there is of the results of a call."""

    results: int
    faults: int
    #: those that came in a memory file
    files: int
    #: bytes of the others
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptApp:
    """An app that is not deployed."""

    app_id: str
    name: str
    detached: int
    #: sealed
    description: bytes
    created_at: float
    #: the id of the one that it was in
    environment: str


def place_of_app(app_id: str) -> str:
    """What the description of an app that is not deployed is sealed for."""
    return place_of("kept_apps.description", app_id)


def place_of_variant(call_id: str) -> str:
    """What the variant of a call is sealed for."""
    return place_of("calls.variant", call_id)


def _adds(table: Table) -> Any:
    """Writes rows; those that are there already stay: what is sent again is the same."""
    # What PostgreSQL's `insert` says SQLite understands as well; the other way round it is not so.
    statement = insert(table).on_conflict_do_nothing()

    def add(connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(statement, rows)

    return add


def _adds_sealed(table: Table, column: str) -> Any:
    """`_adds` for rows of which one column is an `Unsealed`, or None."""
    add = _adds(table)

    def add_sealed(connection: Connection, rows: list[dict[str, Any]]) -> None:
        add(connection, [
            row if row[column] is None else {**row, column: row[column].sealed()} for row in rows
        ])  # fmt: skip

    return add_sealed


def _updates(*names: str) -> Any:
    statement = update(calls).where(calls.c.call_id == bindparam("id"))
    statement = statement.values({name: bindparam(f"new_{name}") for name in names})

    def change(connection: Connection, rows: list[dict[str, Any]]) -> None:
        connection.execute(
            statement,
            [
                {"id": row["call_id"], **{f"new_{name}": row[name] for name in names}}
                for row in rows
            ],
        )

    return change


#: In the order in which they are written: apps, their calls, inputs, results, ends.
ADD_APP = Kind(0, _adds_sealed(kept_apps, "description"))
ADD_CALL = Kind(1, _adds_sealed(calls, "variant"))
ADD_INPUTS = Kind(2, _adds(call_inputs))
CLOSE_CALL = Kind(3, _updates("inputs", "closed"))
ADD_RESULTS = Kind(4, _adds(call_results))
FINISH_CALL = Kind(5, _updates("inputs", "closed", "state", "faults", "finished_at", "made"))


def find(connection: Connection, call_id: str) -> CallRow | None:
    """One call, None if there is none."""
    row = connection.execute(select(calls).where(calls.c.call_id == call_id)).one_or_none()
    return None if row is None else CallRow(**row._mapping)


def pending(connection: Connection) -> list[CallRow]:
    """All that have not finished, the oldest first."""
    rows = connection.execute(
        select(calls).where(calls.c.state == "pending").order_by(calls.c.created_at)
    )
    return [CallRow(**row._mapping) for row in rows]


def ids_since(connection: Connection, moment: float) -> list[str]:
    """The ids of those that were made since, finished or not."""
    return list(
        connection.execute(select(calls.c.call_id).where(calls.c.created_at >= moment)).scalars()
    )


def listed(
    connection: Connection, *, count: int, app: str | None, state: str | None,
    environment: str | None = None,
) -> list[CallRow]:  # fmt: skip
    """The latest calls, the latest first.

    Args:
        connection: the database's.
        count: how many at most.
        app: those of an app alone, by its id or name.
        state: those in a state alone.
        environment: those of the apps of one alone, by its id.
    """
    query = select(calls).where(calls.c.state != "expired")
    if environment is not None:
        deployed, kept = (
            select(table.c.app_id).where(table.c.environment == environment)
            for table in (apps, kept_apps)
        )
        query = query.where(calls.c.app_id.in_(deployed) | calls.c.app_id.in_(kept))
    if app is not None:
        query = query.where((calls.c.app_id == app) | (calls.c.app == app))
    if state is not None:
        query = query.where(calls.c.state == state)
    rows = connection.execute(query.order_by(calls.c.created_at.desc()).limit(count))
    return [CallRow(**row._mapping) for row in rows]


def made_by(connection: Connection, call_ids: Sequence[str], count: int) -> list[CallRow]:
    """The calls that inputs of some calls have made, the oldest first, `count` at most."""
    rows = connection.execute(
        select(calls).where(calls.c.parent.in_(call_ids)).order_by(calls.c.created_at).limit(count)
    )
    return [CallRow(**row._mapping) for row in rows]


def results_counted(connection: Connection, call_ids: Sequence[str]) -> dict[str, Counted]:
    """What there is of the results of some calls; nothing for those that have none."""
    table = call_results.c
    rows = connection.execute(
        select(
            table.call_id, func.sum(table.count), func.sum(table.faults),
            func.count(table.digest), func.sum(func.length(table.section)),
        )
        .where(table.call_id.in_(call_ids))
        .group_by(table.call_id)
    )  # fmt: skip
    return {
        row[0]: Counted(results=int(row[1]), faults=int(row[2]), files=row[3], size=int(row[4]))
        for row in rows
    }


def results_of(connection: Connection, call_id: str, count: int) -> list[tuple[Items, str]]:
    """The first results of a call, each with the container they come from; `count` times some."""
    rows = connection.execute(
        select(
            call_results.c.first,
            call_results.c.count,
            call_results.c.section,
            call_results.c.digest,
            call_results.c.container_id,
        )
        .where(call_results.c.call_id == call_id)
        .order_by(call_results.c.first)
        .limit(count)
    )
    return [
        (Items(first=row[0], count=row[1], section=row[2], digest=row[3]), row[4]) for row in rows
    ]


def faults_of(connection: Connection, call_id: str, count: int) -> list[Items]:
    """The first results of a call among which there are faults, `count` times some at most."""
    rows = connection.execute(
        select(*_ITEMS_OF_RESULTS)
        .where(call_results.c.call_id == call_id, call_results.c.faults > 0)
        .order_by(call_results.c.first)
        .limit(count)
    )
    return [Items(**row._mapping) for row in rows]


_ITEMS_OF_RESULTS = [column for column in call_results.c if column.name in Items.__slots__]


def inputs_of(connection: Connection, call_id: str) -> list[Items]:
    """The inputs of a call, in order."""
    return _items(connection, call_inputs, call_id)


def _items(connection: Connection, table: Table, call_id: str) -> list[Items]:
    rows = connection.execute(
        select(table.c.first, table.c.count, table.c.section, table.c.digest)
        .where(table.c.call_id == call_id)
        .order_by(table.c.first)
    )
    return [Items(first=row[0], count=row[1], section=row[2], digest=row[3]) for row in rows]


def ranges_of_results(connection: Connection, call_id: str) -> list[tuple[int, int, int]]:
    """Which results of a call are there: (first, count, how many of those are faults)."""
    rows = connection.execute(
        select(call_results.c.first, call_results.c.count, call_results.c.faults)
        .where(call_results.c.call_id == call_id)
        .order_by(call_results.c.first)
    )
    return [(first, count, faults) for first, count, faults in rows]


def result_at(connection: Connection, call_id: str, index: int) -> Items | None:
    """The result of one input with those that came with it, None if there is none."""
    row = connection.execute(
        select(*_ITEMS_OF_RESULTS)
        .where(call_results.c.call_id == call_id, call_results.c.first <= index)
        .order_by(call_results.c.first.desc())
        .limit(1)
    ).one_or_none()
    found = None if row is None else Items(**row._mapping)
    return found if found is not None and index < found.first + found.count else None


def app_of(connection: Connection, app_id: str) -> KeptApp | None:
    """An app that is not deployed, None if it is not kept."""
    row = connection.execute(select(kept_apps).where(kept_apps.c.app_id == app_id)).one_or_none()
    return None if row is None else KeptApp(**row._mapping)


def description_of(connection: Connection, app_id: str, version: int) -> tuple[str, bytes] | None:
    """The app that a call is of, as it was described: place and sealed content.

    None if it is not kept.
    """
    deployed = deployments.description_of(connection, app_id, version) if version else None
    if deployed is not None:
        return deployments.place_of_description(app_id, version), deployed
    kept = app_of(connection, app_id)
    return None if kept is None else (place_of_app(app_id), kept.description)


def digests(connection: Connection) -> list[str]:
    """The hashes of all contents that inputs and results name."""
    found: list[str] = []
    for table in (call_inputs, call_results):
        query = select(table.c.digest).where(table.c.digest.is_not(None)).distinct()
        found += connection.execute(query).scalars()
    return found


def kept_app_ids(connection: Connection) -> list[str]:
    """The ids of all apps that are kept."""
    return list(connection.execute(select(kept_apps.c.app_id)).scalars())


def versions_named(connection: Connection) -> list[tuple[str, bytes]]:
    """The versions of deployed apps with which calls can be run again: place, sealed content."""
    named = (
        select(calls.c.app_id, calls.c.version).where(calls.c.state != "expired").distinct()
    ).subquery()
    rows = connection.execute(
        select(versions.c.app_id, versions.c.version, versions.c.description).join(
            named,
            (versions.c.app_id == named.c.app_id) & (versions.c.version == named.c.version),
        )
    )
    place = deployments.place_of_description
    return [(place(app_id, version), sealed) for app_id, version, sealed in rows]


def expire(connection: Connection, finished_before: float) -> int:
    """Keep no inputs and results of calls that finished before; how many those were.

    Not more than `REMOVED_AT_ONCE`: to be called until it says that there were none.
    """
    old = _old(connection, finished_before, calls.c.state != "expired")
    for table in (call_inputs, call_results):
        connection.execute(delete(table).where(table.c.call_id.in_(old)))
    connection.execute(update(calls).where(calls.c.call_id.in_(old)).values(state="expired"))
    return len(old)


def forget(connection: Connection, finished_before: float) -> int:
    """Remove the rows of expired calls that finished before, as `expire` does."""
    old = _old(connection, finished_before, calls.c.state == "expired")
    connection.execute(delete(calls).where(calls.c.call_id.in_(old)))
    return len(old)


def _old(connection: Connection, finished_before: float, which: Any) -> Sequence[str]:
    return list(
        connection.execute(
            select(calls.c.call_id)
            .where(calls.c.finished_at < finished_before, which)
            .limit(REMOVED_AT_ONCE)
        ).scalars()
    )


def forget_apps(connection: Connection, but: Sequence[str]) -> int:
    """Remove apps that no call names that could be run again; how many those were.

    Args:
        but: ids of those that run.
    """
    named = select(calls.c.app_id).where(calls.c.state != "expired")
    gone = delete(kept_apps).where(kept_apps.c.app_id.not_in(named), kept_apps.c.app_id.not_in(but))
    return int(connection.execute(gone).rowcount)
