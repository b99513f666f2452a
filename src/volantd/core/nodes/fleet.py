"""All machines, and the one on which a container starts. It must not decide whose turn it is.

Which one (ADR 27): where the pool has a few containers already, because its modules are imported
there. Else, with GPUs, the machine that has fewest free ones, so that whole machines are left for
those who want many; and without, the machine with the most free memory, so that containers share
processors with few others, and machines with GPUs last. Nothing here looks at more than a few
machines, however many there are.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

from volantd.core.nodes.capacities import NO_MODEL, Capacities
from volantd.core.nodes.lack import Lack
from volantd.core.nodes.node import Node
from volantd.core.nodes.shelf import Shelf, bucket_of, key_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Set

    from volantd.core.model import Container, Pool
    from volantd.core.nodes.node import NodeId
    from volantd.core.records.configuration import Need
    from volantd.core.records.gpus import Gpu
    from volantd.core.records.ledger import Ledger

#: Containers of a pool on one machine beyond which the next one may as well start elsewhere.
TOGETHER_MAX = 8
#: Machines of a pool that are tried before the index is asked.
WARM_MAX = 3
#: Machines that are looked at to find one on which room shall be made.
LOOKS_MAX = 16
#: Removed machines whose names are remembered, so that late news of them change nothing.
GONE_MAX = 65_536
NO_NODES: frozenset[Node] = frozenset()
NO_GPUS: frozenset[Gpu] = frozenset()
NOTHING: dict[Node, Set[Gpu]] = {}


class Fleet:
    """The machines by name, by the room that they have, and by what they could hold when empty."""

    __slots__ = (
        "_count",
        "_gone",
        "_shelves",
        "capacities",
        "idled",
        "idling",
        "news",
        "nodes",
        "numbered",
        "version",
    )

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.numbered: dict[int, Node] = {}
        self.capacities = Capacities()
        #: Machines that may have idle containers; whoever looks at one moves it to the end.
        self.idling: OrderedDict[Node, None] = OrderedDict()
        #: Machines with more room, and with more idle containers, since those who wait looked.
        self.news: dict[Node, None] = {}
        self.idled: dict[Node, None] = {}
        #: Counts what changes which machines there are and what they could hold.
        self.version = 0
        self._count = 0
        #: The last life of removed machines, by name.
        self._gone: OrderedDict[NodeId, int] = OrderedDict()
        #: Where one more container could be: by model, then by free devices of it, fewest first.
        self._shelves: dict[str, dict[int, Shelf]] = {NO_MODEL: {0: Shelf()}}

    # Machines

    def is_over(self, node_id: NodeId, incarnation: int) -> bool:
        """Whether this life of a machine has ended, or a later one has begun."""
        node = self.nodes.get(node_id)
        if node is not None and node.incarnation > incarnation:
            return True
        return self._gone.get(node_id, -1) >= incarnation

    def add(self, node_id: NodeId, incarnation: int) -> Node:
        """A new machine, which has nothing yet; none of its name may be there."""
        assert node_id not in self.nodes, node_id
        self._count += 1
        node = Node(node_id, self._count, incarnation)
        self.nodes[node_id] = self.numbered[node.order] = node
        return node

    def set_capacity(
        self, node: Node, memory_bytes: float, containers_max: float, gpus: tuple[Gpu, ...]
    ) -> None:
        """Says what a machine has; what is booked on it stays so."""
        self.version += 1
        self.capacities.remove(node)
        node.ledger.install(memory_bytes, containers_max, gpus)
        self.capacities.add(node)
        self.refile(node)
        self.news[node] = None

    def bury(self, node_id: NodeId, incarnation: int) -> Node | None:
        """Notes that a life of a machine is over; returns it if it was under way."""
        node = self.nodes.get(node_id)
        self._gone[node_id] = max(incarnation, self._gone.pop(node_id, -1))
        if len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)
        if node is None or node.incarnation > incarnation:
            return None
        self.version += 1
        self.capacities.remove(node)
        self._unfile(node)
        self.idling.pop(node, None)
        node.removed = True
        del self.nodes[node_id], self.numbered[node.order]
        return node

    def refile(self, node: Node) -> None:
        """Notes in the index how much room a machine has now."""
        self._unfile(node)
        ledger = node.ledger
        free_bytes = ledger.memory_bytes - ledger.booked_bytes
        if node.removed or free_bytes < 0 or ledger.booked_count >= ledger.containers_max:
            return
        key = key_of(free_bytes, node.order)
        free = ledger.gpus.free_counts() if ledger.gpus.installed else {NO_MODEL: 0}
        for model, count in free.items():
            shelf = self._shelves.get(model, {}).get(count) or self._add_shelf(model, count)
            shelf.add(key)
            node.filed.append((shelf, key))

    def _add_shelf(self, model: str, count: int) -> Shelf:
        shelves = self._shelves.get(model, {}) | {count: Shelf()}
        self._shelves[model] = dict(sorted(shelves.items()))
        return self._shelves[model][count]

    def _unfile(self, node: Node) -> None:
        for shelf, key in node.filed:
            shelf.remove(key)
        node.filed.clear()

    def check_filed(self, node: Node) -> None:
        """Asserts that the index has a machine exactly where it has room. For invariants."""
        filed = sorted(id(shelf) for shelf, _ in node.filed)
        self.refile(node)
        assert filed == sorted(id(shelf) for shelf, _ in node.filed), node.node_id

    # Containers

    def book(self, container: Container) -> None:
        """Books a container that starts."""
        node, pool = container.node, container.pool
        node.ledger.book(container)
        node.containers[container.container_id] = container
        pool.nodes[node] = pool.nodes.pop(node, 0) + 1
        self.refile(node)

    def release(self, container: Container) -> None:
        """Ends the booking of a container that is gone, after ``leave``."""
        node, pool = container.node, container.pool
        node.ledger.release(container)
        del node.containers[container.container_id]
        pool.nodes[node] -= 1
        if not pool.nodes[node] and len(pool.nodes) > 1:
            del pool.nodes[node]  # the last one stays, since its modules are imported there
        self.refile(node)
        self.news[node] = None

    def note_idle(self, container: Container) -> None:
        """A container runs nothing from now on."""
        node = container.node
        node.idle.pop(container, None)
        node.idle[container] = None
        self.idled[node] = None
        if node not in self.idling:
            self.idling[node] = None

    # Room

    def has_news_for(self, pool: Pool, barred: Collection[Node] = NO_NODES) -> bool:
        """Whether a pool that was found to lack something could have what there is news of."""
        need, is_short = pool.need, pool.lacking is Lack.MEMORY
        for node in self.news:
            ledger = node.ledger
            if ledger.fits(need) and node not in barred and (is_short or ledger.could_grant(need)):
                return True
        return False

    def news_bytes(self) -> float:
        """The most memory that is free on a machine of which there is news; below 0: none."""
        most: float = -1
        for node in self.news:
            ledger = node.ledger
            free_bytes = ledger.memory_bytes - ledger.booked_bytes
            if free_bytes > most and ledger.booked_count < ledger.containers_max:
                most = free_bytes
        return most

    def forget_news(self) -> None:
        """All who wait have looked."""
        self.news.clear()
        self.idled.clear()

    def lacks_gpus(self, need: Need) -> bool:
        """Whether no machine has GPUs that would do, however empty it is."""
        return bool(need.gpus) and not self.capacities.choices(need)

    def fits(self, need: Need) -> bool:
        """Whether a machine that has such GPUs has room for one more now, free GPUs apart."""
        return next(self._roomy(need), None) is not None

    def place(
        self,
        pool: Pool,
        withheld: Mapping[Node, Set[Gpu]] = NOTHING,
        barred: Collection[Node] = NO_NODES,
    ) -> tuple[Node, tuple[Gpu, ...]] | None:
        """Where one more container of a pool starts now, and its GPUs; None: nowhere.

        Args:
            pool: whose need it is.
            withheld: GPUs that are kept for others, by machine.
            barred: machines that are kept for others.
        """
        need = pool.need
        if not need.gpus:
            for node in self._warm(pool):
                if node.ledger.fits(need) and node not in barred:
                    return node, ()
            for node in self._roomy(need):
                if node not in barred:
                    return node, ()
            return None
        for model, count in self.capacities.choices(need):
            for nodes in (self._warm(pool), self._granting(need, model, count)):
                for node in nodes:
                    if node.ledger.fits(need) and node not in barred:
                        kept = withheld.get(node, NO_GPUS)
                        gpus = node.ledger.gpus.take(model, count, kept)
                        if gpus is not None:
                            return node, gpus
        return None

    def roomiest(self, need: Need, barred: Collection[Node] = NO_NODES) -> Node | None:
        """A machine on which little has to end for it; None: there is none that is not barred."""
        for node in islice(self._emptiest(need), LOOKS_MAX):
            if node.could_hold(need) and node not in barred:
                return node
        largest = self._largest(need)
        return None if largest in barred else largest

    def with_idle(self, first: Node) -> Iterator[Node]:
        """A machine, and then a few others that have idle containers: each time the next ones."""
        yield first
        for _ in range(min(LOOKS_MAX, len(self.idling))):
            node = next(iter(self.idling))
            if not node.idle:
                del self.idling[node]
                continue
            self.idling.move_to_end(node)
            if node is not first:
                yield node

    def largest(self, need: Need) -> Ledger | None:
        """The account of the machine with the most memory that has the GPUs for it."""
        node = self._largest(need)
        return None if node is None else node.ledger

    def _largest(self, need: Need) -> Node | None:
        """The machine with the most memory that has the GPUs; the places, too, if any has them."""
        if need.places > 1:
            holding = [node for node in self.nodes.values() if node.could_hold(need)]
            if holding:
                return max(holding, key=lambda node: node.ledger.memory_bytes)
        return self.numbered.get(self.capacities.largest(need))

    def fits_ever(self, need: Need) -> bool:
        """Whether it may start on some machine, were that empty."""
        largest = self.largest(need)
        return largest is not None and largest.fits_ever(need)

    def _warm(self, pool: Pool) -> Iterator[Node]:
        """The machines that a pool used last, unless they are gone or crowded by it."""
        for node in islice(reversed(pool.nodes), WARM_MAX):
            if pool.nodes[node] < TOGETHER_MAX and not node.removed:
                yield node

    def _roomy(self, need: Need) -> Iterator[Node]:
        """Machines with room for it, free GPUs apart: those with few free GPUs first."""
        bucket = bucket_of(need.memory_bytes)
        for shelf in self._shelves_of(need):
            if shelf.occupied >> bucket:
                for number in shelf.emptiest(need.memory_bytes):
                    node = self.numbered[number]
                    if need.places == 1 or node.ledger.fits(need):
                        yield node

    def _granting(self, need: Need, model: str, count: int) -> Iterator[Node]:
        """Machines with room and free GPUs for it: those with the fewest, and tightest, first."""
        bucket = bucket_of(need.memory_bytes)
        for free, shelf in self._shelves.get(model, {}).items():
            if free >= count and shelf.occupied >> bucket:
                for number in shelf.tightest(need.memory_bytes):
                    yield self.numbered[number]

    def _emptiest(self, need: Need) -> Iterator[Node]:
        """Machines on which one more container might start, those with the most room first."""
        shelves = self._shelves_of(need)
        for shelf in reversed(shelves) if need.gpus else shelves:
            for number in shelf.emptiest(0):
                yield self.numbered[number]

    def _shelves_of(self, need: Need) -> list[Shelf]:
        """The shelves of machines with the models that a need could have, any without GPUs."""
        models = {m: 0 for m, _ in self.capacities.choices(need)} if need.gpus else self._shelves
        return [shelf for model in models for shelf in self._shelves.get(model, {}).values()]
