"""What the core asks its surroundings to do: one small class for each command.

The hub carries them out in the order of the list. They are plain slotted records, cheap to make,
and ``match`` takes them apart by position. They must be treated as read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.core.nodes.node import LOCAL

if TYPE_CHECKING:
    from volantd.core.model import Batch, CallId, ContainerId, Fault, PoolId
    from volantd.core.nodes.node import NodeId
    from volantd.core.records.gpus import Gpu


@dataclass(slots=True)
class Dispatch:
    """Send ``batch`` to the container, at once: its bytes are ``payload[offset:][:count]``.

    With ``more`` it is taken together with the next one.
    """

    container_id: ContainerId
    batch: Batch
    more: bool = False


@dataclass(slots=True)
class StartContainer:
    """Start a container; answer with ``container_ready`` or ``container_start_failed``.

    If ``size`` is above 1 it is a gang: ready when all are, and gone when all are, after any is.
    """

    pool_id: PoolId
    container_id: ContainerId
    #: Devices that are its own until it is gone; of a gang, each has as many.
    gpus: tuple[Gpu, ...] = ()
    #: The most memory that it may use; None: no limit of its own.
    memory_limit_bytes: int | None = None
    #: On which machine.
    node_id: NodeId = LOCAL
    #: How many containers it consists of.
    size: int = 1


@dataclass(slots=True)
class StopContainer:
    """Stop a container, by force when ``kill``; answer with ``container_exited``. Idempotent."""

    container_id: ContainerId
    kill: bool
    reason: str


@dataclass(slots=True)
class Reclaim:
    """Ask the container for the unstarted tail of a batch; it answers with ``returned``."""

    container_id: ContainerId
    batch_id: int


@dataclass(slots=True)
class Flush:
    """Have the container report what it has finished and holds back for company."""

    container_id: ContainerId
    batch_id: int


@dataclass(slots=True)
class CancelRunning:
    """Interrupt a batch: nobody wants its results. The container still reports on every input."""

    container_id: ContainerId
    batch_id: int


@dataclass(slots=True)
class FailInput:
    """``count`` consecutive inputs failed for a reason that is not the user's exception."""

    call_id: CallId
    first_index: int
    count: int
    fault: Fault
    detail: object


@dataclass(slots=True)
class CallCancelled:
    """The call was cancelled: none of its inputs will be delivered from now on."""

    call_id: CallId


@dataclass(slots=True)
class CallFinished:
    """The call is closed and each of its inputs was delivered or failed. Comes once."""

    call_id: CallId


Command = (
    Dispatch
    | StartContainer
    | StopContainer
    | Reclaim
    | Flush
    | CancelRunning
    | FailInput
    | CallCancelled
    | CallFinished
)
