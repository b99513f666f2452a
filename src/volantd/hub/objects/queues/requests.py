"""Requests about queues. Items are pickles of clients, which nobody here opens.

    queue_put      values, as soon as there is room for all; `put` says whether they are kept
    queue_get      offers items, as soon as there is one; `queue_claim` takes them
    queue_peek     items after one, which stay
    queue_len, queue_clear

A `timeout_s` of 0 means at once or not at all, null for as long as it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import RequestSizeError
from volantd.hub import checks
from volantd.hub.objects.queues.partition import BYTES_MAX, ITEMS_MAX, Getter, Peeker, Putter

if TYPE_CHECKING:
    from volantd.hub.objects.queues.partition import Partition
    from volantd.hub.session import Session

#: Largest item, as a pickle; longest name of a partition.
ITEM_BYTES_MAX = 1 << 20
NAME_BYTES_MAX = 64
#: How long a partition may be kept after something was put into it, and how long one may wait.
TTL_S_MAX = 7 * 86400.0
TIMEOUT_S_MAX = 366 * 86400.0


def queue_put(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Put values, in their order and with nothing in between."""
    values, size = _values(message)
    ttl_s = checks.number(message, "ttl_s", 0.001, TTL_S_MAX)
    timeout_s = _timeout(message)
    partition = _partition(session, message, changes=True)
    if partition is None:
        return None
    session.hub.objects.check_room()
    putter = Putter(
        session=session, number=message["id"], partition=partition, message=message,
        values=values, size=size, ttl_s=ttl_s,
    )  # fmt: skip
    return session.hub.queues.put(putter, timeout_s)


def queue_get(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Offer up to `count` items to a getter."""
    count, timeout_s = checks.whole(message, "count", 1), _timeout(message)
    partition = _partition(session, message)
    if partition is None:
        return None
    getter = Getter(
        session=session, number=message["id"], partition=partition, message=message,
        count=min(count, ITEMS_MAX),
    )  # fmt: skip
    return session.hub.queues.get(getter, timeout_s)


def queue_claim(session: Session, message: dict[str, Any]) -> None:
    """Take what was offered; `claimed` says whether it was still to be had."""
    offer = checks.whole(message, "offer")
    objects = session.hub.objects
    if objects.is_open(session, message) and objects.tickets.admit(session, message):
        session.hub.queues.claim(session, message, offer)


def queue_peek(session: Session, message: dict[str, Any]) -> None:
    """Items that were put after one, which stay where they are."""
    after, count = checks.whole(message, "after"), checks.whole(message, "count", 1)
    timeout_s = _timeout(message)
    partition = _partition(session, message)
    if partition is not None:
        peeker = Peeker(
            session=session, number=message["id"], partition=partition, message=message,
            after=after, count=min(count, ITEMS_MAX),
        )  # fmt: skip
        session.hub.queues.peek(peeker, timeout_s)


def queue_len(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """How many items are in a partition, or in all of a queue."""
    object_id, name = checks.text(message, "object_id"), _name(message)
    queues = session.hub.queues
    if not session.hub.objects.is_open(session, message):
        return None
    queue = queues.queue(session, message, object_id)
    if queue is None:
        return None
    names = list(queue) if name is None else [name] if name in queue else []
    return {"count": sum(queues.partition(object_id, queue, one).count for one in names)}


def queue_clear(session: Session, message: dict[str, Any]) -> None:
    """Empty a partition, or all of a queue."""
    object_id, name = checks.text(message, "object_id"), _name(message)
    objects, queues = session.hub.objects, session.hub.queues
    if objects.is_open(session, message) and objects.tickets.admit(session, message):
        queue = queues.queue(session, message, object_id)
        if queue is not None:
            queues.clear(session, message, object_id, name)


# -- fields


def _partition(
    session: Session, message: dict[str, Any], *, changes: bool = False
) -> Partition | None:
    """The partition that is meant, if the request is to be carried out now."""
    object_id, name = checks.text(message, "object_id"), _name(message)
    if name is None:
        raise ValueError("`partition` is no text")
    objects, queues = session.hub.objects, session.hub.queues
    if not objects.is_open(session, message):
        return None
    if changes and not objects.tickets.admit(session, message):
        return None
    queue = queues.queue(session, message, object_id)
    return None if queue is None else queues.partition(object_id, queue, name)


def _name(message: dict[str, Any]) -> str | None:
    """The name of a partition; None for all."""
    checks.optional(checks.text, message, "partition")
    name: str | None = message["partition"]
    if name is not None and (len(name.encode()) > NAME_BYTES_MAX or "\0" in name):
        raise ValueError(f"a partition's name has at most {NAME_BYTES_MAX} bytes, and no null")
    return name


def _timeout(message: dict[str, Any]) -> float | None:
    checks.optional(checks.number, message, "timeout_s", 0, TIMEOUT_S_MAX)
    found: float | None = message["timeout_s"]
    return found


def _values(message: dict[str, Any]) -> tuple[list[bytes], int]:
    values = checks.sequence(message, "values")
    if not 0 < len(values) <= ITEMS_MAX:
        raise ValueError(f"{len(values)} values at once, from 1 to {ITEMS_MAX}")
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError("a value is no bytes")
    if max(map(len, values)) > ITEM_BYTES_MAX:
        raise RequestSizeError(f"an item has at most {ITEM_BYTES_MAX} bytes as a pickle")
    size = sum(map(len, values))
    if size > BYTES_MAX:
        raise ValueError(f"values of {size} bytes at once, at most {BYTES_MAX}")
    return values, size


HANDLERS = (queue_put, queue_get, queue_claim, queue_peek, queue_len, queue_clear)
