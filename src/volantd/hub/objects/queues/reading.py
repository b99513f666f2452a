"""What is read of queues, on the thread that reads: SQLAlchemy is imported there, on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.store.records import PartitionRow


def partitions(connection: Connection, object_id: str) -> list[PartitionRow]:
    """What is in each partition of a queue that is not empty."""
    from volantd.store import queues as store

    return store.partitions(connection, object_id)


def items(connection: Connection, **wanted: Any) -> list[tuple[int, bytes]]:
    """Ids and values of the next items of a partition; see `store.queues.read`."""
    from volantd.store import queues as store

    return store.read(connection, **wanted)
