"""What is an object with a name, and what tells one kind of them from another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volant.errors import Error
    from volantd.hub.environments.record import Environment
    from volantd.hub.session import Session

#: Characters that are kept of who has made an object.
MAKER_CHARS_MAX = 64


@dataclass(slots=True, kw_only=True, eq=False)
class NamedObject:
    """One object, known by its id, and by its name unless it ends with its client."""

    object_id: str
    kind: str
    environment: Environment
    name: str | None
    created_at: float
    created_by: str
    #: what its kind keeps of it, msgpack
    options: bytes = b""
    #: of one without a name: whose end is its end; None until its client is back
    owner: Session | None = None
    #: whether it is on the disk
    is_kept: bool = False
    #: told when it is there, or cannot be
    waiting: list[Callable[[Error | None], object]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """What clients are told of it."""
        return {
            "object_id": self.object_id, "kind": self.kind, "environment": self.environment.name,
            "name": self.name, "created_at": self.created_at, "created_by": self.created_by,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ObjectKind:
    """What the registry has to know of one kind of object."""

    #: as it is called in messages and in the database
    name: str
    #: what ids of it begin with
    prefix: str
    #: of the machine's user alone, and made by requests of its own
    is_guarded: bool = False
    #: tables in which it keeps rows, each with an `object_id`; they are purged with the object
    tables: tuple[str, ...] = ()
    #: from a request that makes or finds one, what it keeps of it; raises when that cannot be
    options_of: Callable[[dict[str, Any]], bytes] = lambda _: b""
    #: told of an object that was found, and the request for it; raises when it is not as wished
    check: Callable[[NamedObject, dict[str, Any]], object] = lambda *_: None
    #: told of each object that is no more: what is in memory goes, and who waits hears of it
    ended: Callable[[NamedObject], object] = lambda _: None
    #: awaited when the daemon has found what was kept, before anybody is answered
    opening: Callable[[], Awaitable[None]] | None = None
    #: awaited for the id of each object that is no more, before its rows are purged
    leaving: Callable[[str], Awaitable[None]] | None = None
