"""What the machines could hold if they were empty: whether there is any use in waiting."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from volantd.core.records.gpus import ANY_MODEL

if TYPE_CHECKING:
    from volantd.core.nodes.node import Node
    from volantd.core.records.configuration import Need

#: The model under which machines without GPUs are filed.
NO_MODEL = "-"


class Capacities:
    """Machines that take containers, by the devices that they have, in order of their memory."""

    __slots__ = ("_kinds", "widest")

    def __init__(self) -> None:
        #: Memory and number of machines, by model and how many devices of it: few lists.
        self._kinds: dict[tuple[str, int], list[tuple[float, int]]] = {}
        #: The most devices of a model that one machine has.
        self.widest: dict[str, int] = {}

    def add(self, node: Node) -> None:
        """Files a machine under all that it has."""
        for key in _kinds_of(node):
            insort(self._kinds.setdefault(key, []), (node.ledger.memory_bytes, node.order))
            self._measure(key[0])

    def remove(self, node: Node) -> None:
        """Takes a machine out, as it was added; one that was not is ignored."""
        entry = (node.ledger.memory_bytes, node.order)
        for key in _kinds_of(node):
            entries = self._kinds.get(key, [])
            position = bisect_left(entries, entry)
            if entries[position : position + 1] == [entry]:
                del entries[position]
            if not entries:
                self._kinds.pop(key, None)
            self._measure(key[0])

    def _measure(self, model: str) -> None:
        if model != NO_MODEL:
            counts = [count for kind, count in self._kinds if kind == model]
            self.widest[model] = max(counts, default=0)

    def choices(self, need: Need) -> list[tuple[str, int]]:
        """The alternatives that some empty machine could grant, as model and number."""
        widest = self.widest
        return [
            (model, wish.count)
            for wish in need.gpus
            for model in (widest if wish.model == ANY_MODEL else (wish.model,))
            if widest.get(model, 0) >= wish.count
        ]

    def largest(self, need: Need) -> int:
        """The number of the machine with the most memory that has GPUs for it; 0: there is none."""
        if not need.gpus:
            best = max((entries[-1] for entries in self._kinds.values()), default=(0, 0))
        else:
            choices = self.choices(need)
            best = max(
                (
                    entries[-1]
                    for (model, count), entries in self._kinds.items()
                    if any(model == wished and count >= least for wished, least in choices)
                ),
                default=(0, 0),
            )
        return best[1]


def _kinds_of(node: Node) -> list[tuple[str, int]]:
    if node.ledger.containers_max < 1:
        return []
    return list(node.ledger.gpus.counts().items()) or [(NO_MODEL, 0)]
