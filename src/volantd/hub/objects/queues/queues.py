"""All queues of a daemon: items are put, offered, claimed, given back.

    put ─► written ─► offered to the getter that waits longest ─► claimed: removed, then answered
                          └ its session ends, or it waits no more, or CLAIM_S pass: back in place

A getter has an item in its hands before that leaves the queue, and its user does not see it before
that is on the disk. So no kill of anybody loses an item that was put, and none is got twice.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from volant.errors import Error, ResourceExhaustedError
from volant.wire.faults import error_fault
from volantd.hub.objects.kinds import NamedObject, ObjectKind
from volantd.hub.objects.queues import reading
from volantd.hub.objects.queues.changes import CHANGE, Clear, Put, Take
from volantd.hub.objects.queues.offers import KEPT, Arrival, Offer, Offers
from volantd.hub.objects.queues.partition import (
    ITEMS_MAX,
    OFFER_BYTES_MAX,
    Getter,
    Partition,
    Peeker,
    Putter,
    Waiting,
    take,
)
from volantd.hub.objects.reads import write_error
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.store.records import PartitionRow

    Item = tuple[int, bytes]
    Queue = dict[str, Partition]

#: Partitions of one queue.
PARTITIONS_MAX = 100_000
#: Requests of one session that wait.
WAITING_MAX = 10_000
#: Bytes of all items that are kept ready in memory when they are put.
READY_BYTES_ALL = 64 << 20
#: Items that are read at once, when few are asked for.
FETCH_ITEMS = 100
#: How often partitions are looked for that nobody has put anything into for long.
SWEEP_EVERY_S = 3600.0
#: What one item takes in memory beside its bytes.
OVERHEAD_BYTES = 200


class Queues:
    """What is in memory of queues."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._queues: dict[str, Queue] = {}
        #: Requests that wait until it is known what is in a queue.
        self._loading: dict[str, list[tuple[Session, dict[str, Any]]]] = {}
        self._next_id = 1
        self._waiting: dict[Session, dict[int, Waiting]] = {}
        self._offers = Offers(hub.loop, self._give_back)
        self._ready_bytes = 0
        hub.objects.register(ObjectKind(
            name="queue", prefix="qu", tables=("items",), opening=self._open, ended=self._ended,
        ))  # fmt: skip

    # -- the start

    async def _open(self) -> None:
        from volantd.store import queues as store

        self._next_id = 1 + await self._hub.objects.database.run(store.last_id)
        self._loop.call_later(SWEEP_EVERY_S, self._begin_sweep)

    def queue(
        self, session: Session, message: dict[str, Any], object_id: str
    ) -> Queue | None:  # fmt: skip
        """The partitions of a queue; None if they are not known yet: then this is asked again.

        Raises:
            NotFoundError: when there is no such queue.
        """
        self._hub.objects.find("queue", object_id)
        found = self._queues.get(object_id)
        if found is None:
            waiting = self._loading.setdefault(object_id, [])
            waiting.append((session, message))
            if len(waiting) == 1:
                self._read(
                    partial(reading.partitions, object_id=object_id), partial(self._load, object_id)
                )
        return found

    def _load(self, object_id: str, rows: list[PartitionRow], error: Exception | None) -> None:
        if error is None:
            queue = self._queues[object_id] = {}
            for row in rows:
                found = queue[row.partition] = Partition(object_id, row.partition)
                found.count, found.size = row.count, row.size
                found.last_id, found.expires_at = row.last_id, row.expires_at
        for session, message in self._loading.pop(object_id):
            if error is None:
                session.ask_again(message)
            else:
                session.refuse(message["id"], error_fault(write_error(error)))

    def _read(self, work: Callable[[Connection], Any], done: Callable[..., object]) -> None:
        """Read something; `done` is told what, or why not, on the event loop."""

        def told(ended: Future[Any]) -> None:
            error = ended.exception()
            done([] if error else ended.result(), error)
            self._hub.after_events()

        future = self._hub.objects.database.read(work)
        future.add_done_callback(lambda ended: self._loop.call_soon_threadsafe(told, ended))

    def partition(self, object_id: str, queue: Queue, name: str) -> Partition:
        """A partition, as far as what is in it has not expired.

        Raises:
            ResourceExhaustedError: when it would be one too many.
        """
        found = queue.get(name)
        if found is None:
            if len(queue) >= PARTITIONS_MAX:
                raise ResourceExhaustedError(
                    f"the queue has {len(queue)} partitions, which is the most"
                )
            found = queue[name] = Partition(object_id, name)
        elif found.count and found.expires_at <= wall_clock() and not found.coming_count:
            found = self._renew(queue, found)
            self._hub.objects.journal.write([(CHANGE, Clear(object_id, name))], lambda _: None)
        return found

    def _renew(self, queue: Queue, old: Partition) -> Partition:
        """Have an empty partition in the place of one."""
        old.arrival.release()
        made = queue[old.name] = Partition(old.object_id, old.name)
        made.getters, made.putters, made.peekers = old.getters, old.putters, old.peekers
        for waiting in (*made.getters.values(), *made.putters.values(), *made.peekers.values()):
            waiting.partition = made
        old.is_current = False
        self._ready_bytes -= old.ready_bytes
        return made

    def _drop_if_unused(self, partition: Partition) -> None:
        queue = self._queues.get(partition.object_id)
        if queue is not None and partition.is_current and partition.is_unused:
            queue.pop(partition.name, None)

    # -- waiting

    def _wait(self, waiting: Waiting, timeout_s: float | None, line: Any) -> None:
        """Have a request wait, at most for a time.

        Raises:
            ResourceExhaustedError: when its session waits for too much.
        """
        mine = self._waiting.setdefault(waiting.session, {})
        if len(mine) >= WAITING_MAX:
            raise ResourceExhaustedError(
                f"{len(mine)} requests of one client wait at queues, which is the most"
            )
        mine[waiting.number] = waiting
        line[waiting.session, waiting.number] = waiting
        if timeout_s is not None:
            waiting.timer = self._loop.call_later(timeout_s, self._timed_out, waiting)

    def _end_waiting(self, waiting: Waiting) -> None:
        key = waiting.session, waiting.number
        if waiting.timer is not None:
            waiting.timer.cancel()
        self._waiting.get(waiting.session, {}).pop(waiting.number, None)
        partition = waiting.partition
        for line in (partition.getters, partition.putters, partition.peekers):
            line.pop(key, None)
        if isinstance(waiting, Putter):
            waiting.session.held.drop(waiting.size, fd=False)

    def _timed_out(self, waiting: Waiting) -> None:
        self._end_waiting(waiting)
        is_putter = isinstance(waiting, Putter)
        waiting.session.reply(waiting.number, {"put": False} if is_putter else {"items": []})
        self._drop_if_unused(waiting.partition)
        self._admit(waiting.partition)
        self._hub.after_events()

    def cancel(self, session: Session, number: int) -> None:
        """Take back what a client has asked for and waits for no more."""
        waiting = self._waiting.get(session, {}).get(number)
        if waiting is not None:
            self._end_waiting(waiting)
            self._drop_if_unused(waiting.partition)
            self._admit(waiting.partition)
        self._give_back(session, number)

    def session_closed(self, session: Session) -> None:
        """Take back all that a client has asked for."""
        for number in [*self._waiting.get(session, ()), *self._offers.numbers(session)]:
            self.cancel(session, number)
        self._waiting.pop(session, None)
        self._offers.forget(session)

    def _ended(self, found: NamedObject) -> None:
        """A queue is no more: who waits at it is told."""
        gone = self._queues.pop(found.object_id, {})
        for partition in gone.values():
            partition.arrival.release()
            partition.is_current = False
            self._ready_bytes -= partition.ready_bytes
            lines = partition.getters, partition.putters, partition.peekers
            for waiting in [one for line in lines for one in line.values()]:
                self._end_waiting(waiting)
                try:
                    self._hub.objects.find("queue", found.object_id)
                except Error as error:
                    waiting.session.refuse(waiting.number, error_fault(error))

    # -- putting

    def put(self, putter: Putter, timeout_s: float | None) -> dict[str, Any] | None:
        """Put values as soon as there is room for all of them."""
        partition = putter.partition
        if not partition.putters and partition.fits(len(putter.values), putter.size):
            self._accept(putter)
            return None
        if timeout_s == 0:
            self._drop_if_unused(partition)
            return {"put": False}
        self._wait(putter, timeout_s, partition.putters)
        putter.session.held.add(putter.size, fd=False)
        return None

    def _accept(self, putter: Putter) -> None:
        partition = putter.partition
        partition.arrival.release()  # what was put before is written before
        items = list(enumerate(putter.values, self._next_id))
        self._next_id += len(items)
        arrival, left = Arrival(), items
        if partition.may_hand_on:
            left = self._hand_on(partition, items, arrival)
        partition.coming_count += len(items)
        partition.coming_bytes += putter.size
        write = partial(self._write, putter, items, left, arrival)
        if arrival.offers:
            arrival.hold(write, self._loop)
            partition.arrival = arrival
        else:
            write()

    def _write(
        self, putter: Putter, items: list[Item], left: list[Item], arrival: Arrival
    ) -> None:  # fmt: skip
        """Write what was put, of which some may have been offered already."""
        partition, size = putter.partition, putter.size
        expires_at = wall_clock() + putter.ttl_s
        put = Put.of(partition.object_id, partition.name, items, expires_at)

        def settled(error: Exception | None) -> None:
            partition.coming_count -= len(items)
            partition.coming_bytes -= size
            if error is None:
                partition.count += len(items)
                partition.size += size
                partition.expires_at = max(partition.expires_at, expires_at)
                self._arrived(partition, left, items[-1][0])
            arrival.settle(is_kept=error is None)
            self._admit(partition)

        self._hub.objects.change(
            putter.session, putter.message, [(CHANGE, put)], {"put": True},
            size=size + OVERHEAD_BYTES * len(items), settled=settled,
        )  # fmt: skip

    def _hand_on(self, partition: Partition, items: list[Item], arrival: Arrival) -> list[Item]:
        """Offer items before they are written, to those who wait; gives what is left of them."""
        left = deque(items)
        while left and partition.getters:
            getter = next(iter(partition.getters.values()))
            self._end_waiting(getter)
            if self._offers.may_make(getter):
                taken, size = take(left, getter.count)
                self._offers.make(getter, taken, size, arrival, more=False)
                arrival.offers += 1
        return list(left)

    def _arrived(self, partition: Partition, items: list[Item], last_id: int) -> None:
        if not partition.is_current:
            return  # cleared meanwhile, or deleted
        before = partition.ready_bytes
        may_be_ready = self._ready_bytes <= READY_BYTES_ALL
        partition.arrive(items, last_id, may_be_ready=may_be_ready)
        self._ready_bytes += partition.ready_bytes - before
        self._serve(partition)
        for peeker in list(partition.peekers.values()):
            self._end_waiting(peeker)
            self._look(peeker)

    def _admit(self, partition: Partition) -> None:
        """Let go on who waits for room, first come first served."""
        while partition.putters:
            first = next(iter(partition.putters.values()))
            if not partition.fits(len(first.values), first.size):
                return
            self._end_waiting(first)
            self._accept(first)

    # -- getting

    def get(self, getter: Getter, timeout_s: float | None) -> dict[str, Any] | None:
        """Offer items as soon as there is one."""
        partition = getter.partition
        is_empty = not partition.ready and not partition.is_behind and not partition.is_fetching
        if timeout_s == 0 and is_empty:
            self._drop_if_unused(partition)
            return {"items": []}
        # Who does not want to wait does so only until what is there has been read.
        self._wait(getter, None if timeout_s == 0 else timeout_s, partition.getters)
        self._serve(partition)
        return None

    def _serve(self, partition: Partition) -> None:
        """Offer what there is to who waits longest."""
        while partition.getters and partition.is_current:
            if not partition.ready:
                if partition.is_behind:
                    self._fetch(partition)
                else:
                    self._tell_empty(partition)
                return
            getter = next(iter(partition.getters.values()))
            self._end_waiting(getter)
            self._offer(getter)

    def _tell_empty(self, partition: Partition) -> None:
        """Nothing is left for those who did not want to wait."""
        for getter in list(partition.getters.values()):
            if getter.message["timeout_s"] == 0:
                self._end_waiting(getter)
                getter.session.reply(getter.number, {"items": []})

    def _offer(self, getter: Getter) -> None:
        partition = getter.partition
        if self._offers.may_make(getter):
            items, size = partition.take(getter.count)
            self._ready_bytes -= size
            more = bool(partition.ready) or partition.is_behind
            self._offers.make(getter, items, size, KEPT, more=more)

    def _fetch(self, partition: Partition) -> None:
        """Read the next items of a partition."""
        if partition.is_fetching:
            return
        partition.is_fetching = True
        wanted = sum(getter.count for getter in partition.getters.values())
        count_max = min(ITEMS_MAX, max(FETCH_ITEMS, wanted))
        work = partial(
            reading.items, object_id=partition.object_id, partition=partition.name,
            after=partition.cursor, upto=partition.last_id, count_max=count_max,
            bytes_max=OFFER_BYTES_MAX,
        )  # fmt: skip

        def done(items: list[Item], error: Exception | None) -> None:
            partition.is_fetching = False
            if not partition.is_current:
                return
            if error is not None:
                fault = error_fault(write_error(error))
                for getter in list(partition.getters.values()):
                    self._end_waiting(getter)
                    getter.session.refuse(getter.number, fault)
                return
            before = partition.ready_bytes
            partition.fetched(items)
            self._ready_bytes += partition.ready_bytes - before
            self._serve(partition)

        self._read(work, done)

    def _give_back(self, session: Session, number: int) -> None:
        """Have what was offered to a getter in its place again."""
        offer = self._offers.take(session, number)
        if offer is not None:
            self._return(offer)
            offer.arrival.answered()
            self._hub.after_events()

    def _return(self, offer: Offer) -> None:
        if not offer.arrival.is_settled:
            offer.arrival.waiting.append(partial(self._return, offer))
        elif offer.partition.is_current and offer.arrival.is_kept:
            offer.partition.give_back(offer.items, offer.size)
            self._ready_bytes += offer.size
            self._serve(offer.partition)

    def claim(self, session: Session, message: dict[str, Any], number: int) -> None:
        """Take from the queue what a getter was offered, and has; answers when that is kept."""
        offer = self._offers.take(session, number)
        if offer is None:  # it went back, or this is another daemon than the one that offered it
            session.reply(message["id"], {"claimed": False})
        else:
            offer.arrival.answered(partial(self._claim, session, message, offer))

    def _claim(self, session: Session, message: dict[str, Any], offer: Offer) -> None:
        if session.peer.closed:  # over another connection its getter is told that it went back
            self._return(offer)
            return
        partition, answer = offer.partition, {"claimed": True}

        def settled(error: Exception | None) -> None:
            answer["claimed"] = offer.arrival.is_kept
            if error is not None:
                self._return(offer)
            elif offer.arrival.is_kept:
                partition.count -= len(offer.items)
                partition.size -= offer.size
            if partition.is_current:
                self._admit(partition)
                self._drop_if_unused(partition)

        taken = Take([item_id for item_id, _ in offer.items])
        self._hub.objects.change(session, message, [(CHANGE, taken)], answer, settled=settled)

    # -- the rest

    def peek(self, peeker: Peeker, timeout_s: float | None) -> None:
        """Answer with items that were put after one, as soon as there are some."""
        partition = peeker.partition
        if peeker.after < partition.last_id and partition.count:
            self._look(peeker)
        elif timeout_s == 0:
            peeker.session.reply(peeker.number, {"items": []})
            self._drop_if_unused(partition)
        else:
            self._wait(peeker, timeout_s, partition.peekers)

    def _look(self, peeker: Peeker) -> None:
        partition = peeker.partition
        work = partial(
            reading.items, object_id=partition.object_id, partition=partition.name,
            after=peeker.after, upto=partition.last_id, count_max=peeker.count,
            bytes_max=OFFER_BYTES_MAX,
        )  # fmt: skip

        def made(items: list[Item]) -> dict[str, Any]:
            last = items[-1][0] if items else partition.last_id
            return {"items": [value for _, value in items], "last": last}

        try:
            self._hub.objects.reads.ask(peeker.session, peeker.number, work, made)
        except Error as error:
            peeker.session.refuse(peeker.number, error_fault(error))

    def clear(
        self, session: Session, message: dict[str, Any], object_id: str, name: str | None
    ) -> None:
        """Empty a partition, or all of a queue."""
        queue = self._queues[object_id]
        cleared = [queue[name]] if name in queue else list(queue.values()) if name is None else []
        renewed = [self._renew(queue, partition) for partition in cleared]

        def settled(_: Exception | None) -> None:
            for partition in renewed:
                self._admit(partition)
                self._drop_if_unused(partition)

        self._hub.objects.change(
            session, message, [(CHANGE, Clear(object_id, name))], {}, settled=settled
        )

    def _begin_sweep(self) -> None:
        self._hub.services.tasks.start(self._sweep(), "sweep-queues")
        self._loop.call_later(SWEEP_EVERY_S, self._begin_sweep)

    async def _sweep(self) -> None:
        """Remove what is in partitions that have expired."""
        from volantd.store import queues as store

        objects, now = self._hub.objects, wall_clock()
        for object_id, name in await objects.database.run(partial(store.expired, now=now)):
            queue = self._queues.get(object_id)
            if queue is not None and name in queue:
                self.partition(object_id, queue, name)
            elif queue is None and object_id not in self._loading:
                objects.journal.write([(CHANGE, Clear(object_id, name))], lambda _: None)
