"""Rows as the hub makes them, in a module that does not import SQLAlchemy.

Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """What is kept of one object, whatever its kind keeps elsewhere."""

    object_id: str
    kind: str
    #: the id of the one that it is in
    environment: str
    #: None for one that ends with its client
    name: str | None
    created_at: float
    created_by: str
    #: msgpack, as its kind wants it
    options: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """One environment."""

    environment_id: str
    name: str
    created_at: float
    web_suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRow:
    """The change that a client has made last on one of its lines."""

    client: str
    line: int
    number: int
    made_at: float
    #: how it is answered, msgpack; called when the change itself has been made
    answer: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry of a dict."""

    object_id: str
    #: SHA-256 of the key
    key_hash: bytes
    key: bytes
    #: None for a value that lies in a file
    value: bytes | None
    file: str | None
    size: int
    #: hours since 1970
    used_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRow:
    """What is queued in one partition of a queue."""

    partition: str
    count: int
    size: int
    #: of the item that was put last
    last_id: int
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRow:
    """One state of a volume."""

    object_id: str
    number: int
    #: of its tree, JSON
    root: str
    created_at: float
    made_by: str
    action: str
    change_id: str
