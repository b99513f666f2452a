"""One machine as the core knows it: its account, its containers, and where the index has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from volantd.core.records.ledger import Ledger

if TYPE_CHECKING:
    from volantd.core.model import Container, ContainerId
    from volantd.core.nodes.shelf import Shelf
    from volantd.core.records.configuration import Need

NodeId: TypeAlias = str
#: The machine that a daemon runs on.
LOCAL: NodeId = "local"


class Node:
    """A machine from the moment it is added until it is removed."""

    __slots__ = (
        "containers",
        "filed",
        "idle",
        "incarnation",
        "ledger",
        "node_id",
        "order",
        "removed",
    )

    def __init__(self, node_id: NodeId, order: int, incarnation: int) -> None:
        self.node_id = node_id
        #: Which life of a machine of this name it is; a later one has a higher number.
        self.incarnation = incarnation
        #: Its number in the index; never that of another.
        self.order = order
        self.ledger = Ledger()
        self.containers: dict[ContainerId, Container] = {}
        #: Those that are idle, the longest idle one first.
        self.idle: dict[Container, None] = {}
        #: Where the index has it, and under which key.
        self.filed: list[tuple[Shelf, int]] = []
        self.removed = False

    def could_hold(self, need: Need) -> bool:
        """Whether a container with such a need may start on it, were it empty."""
        return self.ledger.fits_ever(need) and not self.ledger.lacks_gpus(need)
