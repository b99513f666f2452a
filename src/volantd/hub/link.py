"""The hub's side of one container: what was sent to it, and what comes back.

    hub ──START──► container ──REPLY──► ready
    hub ──INPUT──► container ──OUTCOME (one or more a batch)──► results, in order

A container is user code: what it sends is checked before the core hears of it, and a container
that breaks the protocol is killed.
"""

from __future__ import annotations

import os
from itertools import islice
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, NoReturn

from volant.wire import frames, values
from volant.wire.frames import HOT
from volantd.hub import checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Batch
    from volantd.hub.hub import Hub
    from volantd.hub.peer import Peer
    from volantd.hub.records import Call, Function, InputItems
    from volantd.hub.session import Session

#: Names of late imports that one container may tell.
LATE_NAMES_MAX = 100
_STREAMED = (frames.YIELD, frames.YIELD_MAPPED)
#: Durable calls of one container that an entry of its log names.
CALLS_NAMED_MAX = 16


class Sent:
    """A batch that a container holds."""

    __slots__ = ("batch", "call", "sent_ns")

    def __init__(self, batch: Batch, call: Call) -> None:
        self.batch = batch
        self.call = call
        self.sent_ns = monotonic_ns()


class ContainerLink:
    """The connection to one container that serves inputs."""

    def __init__(
        self, hub: Hub, container_id: str, function: Function, peer: Peer,
        on_reply: Callable[[dict[str, Any]], None], drain_logs: Callable[[], None],
    ) -> None:  # fmt: skip
        self.hub = hub
        self.container_id = container_id
        self.function = function
        self.peer = peer
        self.batches: dict[int, Sent] = {}
        #: When the phases of its start happened; the agent fills them in.
        self.wanted_ns = 0
        self.forked_ns = 0
        self.imported_ns = 0
        self._late_told = False
        self._on_reply = on_reply
        self._drain_logs = drain_logs
        #: The read from its connection before whose outcomes that was done.
        self._drained_at = 0
        #: Whose express lane the container has.
        self._express_session: Session | None = None
        peer.serve(self)

    @property
    def start_ns(self) -> tuple[int, int, int]:
        """When it was wanted, forked and imported."""
        return self.wanted_ns, self.forked_ns, self.imported_ns

    @property
    def held(self) -> int:
        """Inputs that it holds, and slots of it that are lent."""
        return len(self.batches) + self.hub.door.leases.held_by(self.container_id)

    def kept_calls(self) -> list[str]:
        """Ids (`fc-…`) of the durable calls whose inputs it runs: what it prints is theirs.

        One at most for a container that runs one input at a time: the others wait in it.
        """
        options = self.function.options
        running = iter(self.batches.values())
        if options["max_inputs"] == 1 and not options["batch_size"]:
            running = islice(running, 1)
        ids = dict.fromkeys(sent.call.call_id for sent in running if sent.call.retain)
        return [f"fc-{call_id}" for call_id in islice(ids, CALLS_NAMED_MAX)]

    def maker(self) -> tuple[Call, int | None] | None:
        """The call that user code in it works for, as far as that is certain; of which input."""
        if not self.batches:
            return None
        batches = iter(self.batches.values())
        sent = next(batches)
        if self.function.options["max_inputs"] == 1 and not self.function.options["batch_size"]:
            return sent.call, sent.batch.first_index + sent.batch.done
        is_alone = all(other.call is sent.call for other in batches)
        return (sent.call, None) if is_alone else None

    def runs(self, call_id: str, index: int) -> bool:
        """Whether it has an input of a call."""
        return any(
            sent.call.call_id == call_id and 0 <= index - sent.batch.first_index < sent.batch.count
            for sent in self.batches.values()
        )

    # -- to the container

    def start(self, fields: dict[str, Any]) -> None:
        """Tell it which function it is, and hand it the express lane if its client has one."""
        options = self.function.options
        # Files kept for the next result would count against a limit of its memory.
        recycle = options["memory_limit_mib"] is None and not options["single_use"]
        session = self.function.app.session
        message = {
            "id": 1, "op": "start", "recycle": recycle, "max_inputs": options["max_inputs"],
            "batch_size": options["batch_size"], **fields,
        }  # fmt: skip
        flags, fd = 0, None
        if self._may_express(session):
            assert session is not None and session.express_fd is not None
            self._express_session = session
            message["express"] = self.function.express_token
            flags, fd = frames.HAS_FD, os.dup(session.express_fd)
        self.peer.write(frames.control(frames.REQUEST, values.encode(message), flags), fd)

    def _may_express(self, session: Session | None) -> bool:
        has_lane = session is not None and session.express_fd is not None
        return has_lane and bool(self.function.express_token) and not self.function.app.output

    def dispatch(self, batch: Batch, call: Call, method: int, *, more: bool) -> None:
        """Send a batch of inputs; with `more` it is taken together with the next one."""
        items: InputItems = batch.payload  # type: ignore[assignment]  # the core only carries it
        section = items.cut(batch.offset, batch.count)
        fd = items.open()
        if fd is not None:
            self.hub.loans.lend_input(items, section, call, self.peer)
        sent = self.batches[batch.batch_id] = Sent(batch, call)
        call.sent_ns = sent.sent_ns
        flags = (frames.HAS_FD if fd is not None else 0) | (frames.MORE if more else 0)
        if call.single and call.session is self._express_session is not None:
            flags |= frames.EXPRESS
            call.carrier = self
        frame = frames.hot(
            frames.INPUT, flags, batch.batch_id,
            batch.first_index, batch.count, method, call.call_id.encode("ascii") + section,
        )  # fmt: skip
        # The items keep their descriptor: this batch may have to run again elsewhere.
        self.peer.write(frame, None if fd is None else os.dup(fd))

    def together(self) -> tuple[ContainerLink, ...]:
        """Whoever hears what the core tells the container of this id: see `GangLink`."""
        return (self,)

    def note_death(self, text: str) -> None:
        """Let the calls that ran in it know how the container died."""
        for sent in self.batches.values():
            sent.call.death = text

    def tell(self, op: str, **fields: object) -> None:
        """Send a control event."""
        self.peer.write(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def hand_over(self, method: int, listener_fd: int) -> None:
        """Send what requests for a method come by, ahead of `start`; takes the descriptor over."""
        event = values.encode({"op": "listen", "method": method})
        self.peer.write(frames.control(frames.EVENT, event, frames.HAS_FD), listener_fd)

    # -- from the container

    def on_frame(self, kind: int, flags: int, body: bytes) -> None:
        """Take one frame of the container."""
        if kind == frames.OUTCOME:
            if self._drained_at != self.peer.reads:
                self._drained_at = self.peer.reads
                self._drain_logs()  # what was printed before a result is shown before it
            self._on_outcome(flags, body)
        elif kind == frames.REPLY:
            self._on_reply(values.decode_map(body))
        elif kind == frames.EVENT:
            event = values.decode_map(body)
            if event["op"] == "returned":
                key, count = checks.whole(event, "batch"), checks.whole(event, "count")
                now = monotonic()
                self.hub.apply(self.hub.scheduler.returned(self.container_id, key, count, now), now)
            elif event["op"] == "health":
                answers, now = checks.switch(event, "answers"), monotonic()
                self.hub.apply(self.hub.scheduler.checked(self.container_id, answers, now), now)
            elif event["op"] == "released":
                # Who runs what it does not trust, one input a container, shares no file either.
                reusable = not self.function.options["single_use"]
                self.hub.loans.returned(self.peer, event, reusable=reusable)
            elif event["op"] == "late":
                self._on_late(checks.module_names(event, "names", LATE_NAMES_MAX))
        else:
            raise ValueError(f"a container sent a frame of type {kind}")

    def _on_late(self, names: tuple[str, ...]) -> None:
        """Once, a container says what it has imported after it was forked."""
        if self._late_told:
            raise ValueError("a container told its late imports twice")
        self._late_told = True
        self.hub.services.zygotes.late.learn(self.function, names)

    def _on_outcome(self, flags: int, body: bytes) -> None:
        if len(body) < HOT.size:
            raise ValueError("an outcome without its head")
        key, first, count, exec_us = HOT.unpack_from(body)
        section = body[HOT.size :]
        frames.check_items(section, count)
        fd = checks.payload_fd(self.peer.stream) if flags & frames.HAS_FD else None
        sent = self.batches.get(key)
        if fd is not None:
            self._lend_result(sent, section)
        if sent is None:
            if fd is not None:
                os.close(fd)
            return
        if sent.call.stream and count == 1 and section[3] >> 4 in _STREAMED:
            sent.call.streamed = True
            self.hub.deliver(sent.call, first, 1, 0, section, fd)
            return
        if self.function.app.output:
            self.hub.note_change(self.function)
        expected = sent.batch.first_index + self._done_of(sent)
        ends = bool(flags & frames.END)
        if ends:
            del self.batches[key]
        if count and first != expected:
            self._refuse(f"an outcome for input {first}, the next is {expected}", fd)
        if ends and expected + count < sent.batch.first_index + sent.batch.count:
            self._refuse("a batch ended before its last input had an outcome", fd)
        if not count:
            if fd is not None:
                os.close(fd)
            return
        if flags & frames.ALL_OK:
            delivered = bool(flags & frames.EXPRESS) and sent.call.single
            self._succeeded(sent, key, first, count, exec_us, section, fd, delivered=delivered)
        else:
            self._mixed(sent, key, first, exec_us, frames.split_items(section, count), fd)

    def _done_of(self, sent: Sent) -> int:
        """How many inputs of a batch this container has reported."""
        return sent.batch.done

    def _lend_result(self, sent: Sent | None, section: bytes) -> None:
        self.hub.loans.lend_result(None if sent is None else sent.call, section, self.peer)

    @staticmethod
    def _refuse(text: str, fd: int | None) -> NoReturn:
        if fd is not None:
            os.close(fd)
        raise ValueError(text)

    def _succeeded(
        self, sent: Sent, key: int, first: int, count: int, exec_us: int, section: bytes,
        fd: int | None, *, delivered: bool = False,
    ) -> None:  # fmt: skip
        now, finished_ns = monotonic(), monotonic_ns()
        deliver, commands = self.hub.scheduler.succeeded(
            self.container_id, key, count, exec_us, now
        )
        if deliver:
            if not delivered:
                self.hub.deliver(sent.call, first, count, exec_us, section, fd, self.container_id)
            timings = sent.call.function.app.timings
            timings.note_run(self, sent, first, count, exec_us, finished_ns, "ok")
        elif fd is not None:
            os.close(fd)
        self.hub.apply(commands, now)

    def on_received(self, call: Call, exec_us: int) -> None:
        """The client has the result of a call: as good as the outcome, which is on its way.

        Without it a client that calls again at once would be given a second container. An input
        that was sent again after a death may run now: there the outcome has to come.
        """
        for key, sent in self.batches.items():
            if sent.call is call and not sent.batch.platform_attempt:
                del self.batches[key]
                first = sent.batch.first_index
                self._succeeded(sent, key, first, 1, exec_us, b"", None, delivered=True)
                return

    def _mixed(
        self, sent: Sent, key: int, first: int, exec_us: int, items: list[tuple[int, bytes]],
        fd: int | None,
    ) -> None:  # fmt: skip
        """Outcomes of which some are exceptions: the core decides about each of those."""
        for position, (kind, payload) in enumerate(items):
            section = frames.items_section(((kind, payload),))
            if kind != frames.FAULT:
                share = exec_us // len(items)
                self._succeeded(sent, key, first + position, 1, share, section, fd)
                fd = None
                continue
            now, finished_ns = monotonic(), monotonic_ns()
            verdict, commands = self.hub.scheduler.failed(self.container_id, key, True, now)
            if verdict == "deliver":
                index = first + position
                self.hub.deliver(sent.call, index, 1, exec_us, section, None, self.container_id)
                if sent.call.made is not None:
                    sent.call.made.faults += 1
                timings = sent.call.function.app.timings
                timings.note_run(self, sent, index, 1, exec_us, finished_ns, "raised")
            self.hub.apply(commands, now)
        if fd is not None:
            os.close(fd)

    def on_drained(self) -> None:
        """Nothing waits for that here: batches are few."""

    def on_closed(self) -> None:
        """See to it that a container that cannot be reached ends; the agent reports the exit."""
        self.hub.loans.forget(self.peer)
        self.hub.containers.lost(self.container_id, broke_protocol=self.peer.broke_protocol)
