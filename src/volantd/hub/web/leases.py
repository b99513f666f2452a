"""Slots of containers, lent to the gateway: each is an input in the core that lasts.

The core treats it like any other: it waits its turn, wants a container, and takes up room in one.
It is never sent there; instead the gateway is told that the slot is free for one request.

    ask ─► waits ─► granted ─► released             container gone: revoked
              └─► refused, or moved when the label goes to another function

Requests of a server do not wait: their lease is granted or refused at once. When no container takes
requests, or all are full, the first that is refused leaves a stand-in, which waits in its place
until there is room: all it is good for is that a container is started.
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain, count
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import Error, ResourceExhaustedError
from volant.wire import values
from volantd.core import Fault
from volantd.hub.deployed.replacing import close_faded, index_of
from volantd.hub.pools import variants
from volantd.hub.web import checked
from volantd.hub.web.dedicated import Dedicated
from volantd.hub.web.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Dispatch, FailInput
    from volantd.hub.hub import Hub
    from volantd.hub.records import Function
    from volantd.hub.web.routes import Claim

log = logging.getLogger(__name__)

#: Leases that the gateway may have or wait for at once.
LEASES_MAX = 100_000
#: How long requests under way may go on when their app is stopped.
CUT_S = 1.0
#: What is told of a server without a container, and of what has as much as it may.
ABSENT, FULL = 503, 429
#: The number of a stand_in, which the gateway does not know of.
_STAND_IN = 0
#: Bytes of what the gateway tells sessions apart by.
SESSION_BYTES_MAX = 64
#: Characters of what went wrong with a start that clients are told.
DETAIL_CHARS_MAX = 300


class Lease:
    """One slot, waited for or lent."""

    __slots__ = (
        "batch_id", "call_id", "claim", "container_id", "function", "number", "parameters",
    )  # fmt: skip

    def __init__(
        self, number: int, call_id: str, claim: Claim, function: Function,
        parameters: dict[str, bytes],
    ) -> None:  # fmt: skip
        #: The gateway's name for it.
        self.number = number
        #: The core's.
        self.call_id = call_id
        self.claim = claim
        #: The one of the claim, or a class with parameters: whose pool it is of.
        self.function = function
        #: As the query of the request has them.
        self.parameters = parameters
        #: Where the slot is; empty while it is waited for.
        self.container_id = ""
        self.batch_id = 0


class Leases:
    """All leases of the gateway."""

    def __init__(
        self, hub: Hub, tell: Callable[..., None], find: Callable[[str], Claim | None]
    ) -> None:
        """Begin without any.

        Args:
            tell: sends an event to the gateway.
            find: who holds a label.
        """
        self._hub = hub
        self._tell = tell
        self._find = find
        self._numbers = count(1)
        self._leases: dict[int, Lease] = {}
        self._by_call: dict[str, Lease] = {}
        self._held: Counter[str] = Counter()
        #: What waits where a request was refused, by function.
        self._stand_ins: dict[str, Lease] = {}
        #: Why no container of a server has started, by function.
        self._failures: dict[str, str] = {}
        self.sessions = Sessions()
        self.dedicated = Dedicated(hub, tell)

    def __len__(self) -> int:
        return len(self._leases)

    def held_by(self, container_id: str) -> int:
        """How many slots of a container are lent."""
        return self._held[container_id] + self.dedicated.held_by(container_id)

    def pools(self) -> set[str]:
        """Pools whose slots are waited for, or lent."""
        leases = chain(self._leases.values(), self._stand_ins.values())
        return {lease.function.function_id for lease in leases} | self.dedicated.pools()

    # -- what the gateway asks

    def ask(self, number: int, label: str, session: bytes, parameters: dict[str, bytes]) -> None:
        """Have the gateway wait for a slot of whoever holds a label.

        Args:
            number: the gateway's name for the lease.
            label: where the request goes.
            session: what one container is wanted for, of a server; empty for any.
            parameters: of a class, as the query of the request has them.

        Raises:
            ValueError: for a number that is in use, too many leases, or a session too long.
        """
        if number in self._leases or number <= _STAND_IN or len(self._leases) >= LEASES_MAX:
            raise ValueError(f"the gateway cannot have lease {number}")
        if len(session) > SESSION_BYTES_MAX:
            raise ValueError("the gateway names a session too long")
        claim = self._find(label)
        if claim is None:
            self._tell("refused", lease=number, status=404, detail="this web function is gone")
            return
        if claim.has_sessions:
            refusal = self.dedicated.ask(number, claim, session)
            if refusal is not None:
                self._tell("refused", lease=number, status=refusal[0], detail=refusal[1])
            return
        if claim.is_stateless:
            self._lend(number, claim, session)
            return
        try:
            function = self._pool_of(claim, parameters)
        except Error as error:
            status = FULL if isinstance(error, ResourceExhaustedError) else 400
            self._tell("refused", lease=number, status=status, detail=str(error))
            return
        lease = self._leases[number] = self._open(number, claim, function, parameters)
        self._submit(lease)

    def _pool_of(self, claim: Claim, parameters: dict[str, bytes]) -> Function:
        """Whose containers answer a request.

        Raises:
            InvalidError: naming a parameter that it lacks, or whose value makes no sense.
            ResourceExhaustedError: when there are too many pools.
        """
        if not claim.parameters.names():
            return claim.function
        encoded = claim.parameters.encode(claim.function.name, parameters)
        return variants.of_query(self._hub, claim.function, encoded)

    def _open(
        self, number: int, claim: Claim, function: Function, parameters: dict[str, bytes]
    ) -> Lease:
        lease = Lease(number, f"lease-{next(self._numbers)}", claim, function, parameters)
        self._by_call[lease.call_id] = lease
        self._hub.scheduler.open_call(lease.call_id, function.function_id, monotonic(), True)
        return lease

    def _lend(self, number: int, claim: Claim, session: bytes) -> None:
        """Grant a lease of a server, or refuse it, at once."""
        scheduler, now, function_id = self._hub.scheduler, monotonic(), claim.function.function_id
        lease = self._open(number, claim, claim.function, {})
        wanted = self.sessions.find(function_id, session) if session else ""
        lending, commands = scheduler.lend(lease.call_id, lease, wanted, now)
        if lending == "lent":
            self._leases[number] = lease
            self._failures.pop(function_id, None)
            self._hub.apply(commands, now)
            if session:
                self.sessions.note(function_id, session, lease.container_id, now)
            return
        del self._by_call[lease.call_id]
        scheduler.forget_call(lease.call_id, now)
        status, text = ABSENT, f"`{claim.name}` has no container yet, and starts one"
        if lending == "full":
            status, text = FULL, f"`{claim.name}` has as many requests as it takes"
        text = self._failures.get(function_id, text)
        self._tell("refused", lease=number, status=status, detail=text)
        self._stand_in(claim)

    def _stand_in(self, claim: Claim) -> None:
        """Have a container of a server started, if there may be one more."""
        function_id = claim.function.function_id
        if function_id not in self._stand_ins:
            stand_in = self._open(_STAND_IN, claim, claim.function, {})
            self._stand_ins[function_id] = stand_in
            self._submit(stand_in)

    def _fulfil(self, stand_in: Lease) -> None:
        """A stand-in is of no use any more."""
        if self._stand_ins.get(stand_in.claim.function.function_id) is stand_in:
            del self._stand_ins[stand_in.claim.function.function_id]
            self._end(stand_in)

    def _fulfilled(self, stand_in: Lease) -> None:
        self._fulfil(stand_in)
        self._hub.after_events()

    def _submit(self, lease: Lease) -> None:
        scheduler, now, function = self._hub.scheduler, monotonic(), lease.function
        self._hub.apply(scheduler.submit(lease.call_id, 0, 1, lease, now), now)
        self._hub.note_change(function)
        if function.options["gpu"]:
            self._hub.note_lack(function)

    def release(self, number: int) -> None:
        """Take back a lease, granted or not; one that is unknown was taken back before."""
        lease = self._leases.pop(number, None)
        if lease is not None:
            self._end(lease)
        else:
            self.dedicated.release(number)

    def _end(self, lease: Lease) -> None:
        scheduler, now = self._hub.scheduler, monotonic()
        del self._by_call[lease.call_id]
        if lease.container_id:
            self._gone(lease)
            _, commands = scheduler.succeeded(lease.container_id, lease.batch_id, 1, 0, now)
            self._hub.apply(commands, now)
        self._hub.apply(scheduler.forget_call(lease.call_id, now), now)
        function = lease.function
        self._hub.note_change(function)
        if function in function.app.fading:
            close_faded(self._hub, function.app)

    def _gone(self, lease: Lease) -> None:
        self._held[lease.container_id] -= 1
        if not self._held[lease.container_id]:
            del self._held[lease.container_id]

    def drop_all(self) -> None:
        """The gateway is gone, and all its requests with it."""
        leases, self._leases = list(self._leases.values()), {}
        for lease in leases:
            self._end(lease)
        for stand_in in list(self._stand_ins.values()):
            self._fulfil(stand_in)
        self.dedicated.drop_requests()

    # -- what the core says

    def dispatched(self, command: Dispatch) -> None:
        """A slot is free for a lease."""
        if command.batch.call_id in self.dedicated:
            self.dedicated.dispatched(command)
            return
        lease = self._by_call[command.batch.call_id]
        lease.container_id, lease.batch_id = command.container_id, command.batch.batch_id
        self._held[lease.container_id] += 1
        if lease.number == _STAND_IN:
            self._hub.loop.call_soon(self._fulfilled, lease)
            return
        claim, serving = lease.claim, self._hub.links[command.container_id].function
        method: int | None = claim.method
        if serving is not lease.function and serving.spec["methods"]:
            # It is of an earlier version, which has not given way yet.
            method = index_of(claim.function, claim.method, serving)
        if method is None or method not in checked.forms_of(serving.spec):
            self._tell(
                "refused", lease=lease.number, status=503,
                detail=f"`{claim.name}` is being replaced",
            )  # fmt: skip
            self._hub.loop.call_soon(self.release, lease.number)
            return
        address = self._hub.containers.web_address(command.container_id, method)
        self._tell("granted", lease=lease.number, container=command.container_id, address=address)
        self._hub.note_change(lease.function)

    def failed(self, command: FailInput) -> None:
        """There is no slot for a lease, or no longer."""
        if command.call_id in self.dedicated:
            self.dedicated.failed(command, _in_words("a session", command.fault, command.detail)[1])
            return
        lease = self._by_call.pop(command.call_id)
        if lease.number == _STAND_IN:
            self._failed_stand_in(lease, command)
            return
        del self._leases[lease.number]
        self._hub.scheduler.forget_call(lease.call_id, monotonic())
        if lease.container_id:
            self._gone(lease)
            drain_s = checked.drain_s_of(lease.claim.function.spec) or 0.0
            self._tell("revoked", lease=lease.number, cut_s=max(CUT_S, drain_s))
            return
        claim = self._find(lease.claim.label)
        if claim is not None and claim.function is not lease.claim.function:
            self.ask(lease.number, claim.label, b"", lease.parameters)
            return
        status, detail = _in_words(lease.claim.name, command.fault, command.detail)
        self._tell("refused", lease=lease.number, status=status, detail=detail)

    def _failed_stand_in(self, stand_in: Lease, command: FailInput) -> None:
        """No container of a server starts, or it is stopped; the next that asks is told why."""
        function_id = stand_in.claim.function.function_id
        del self._stand_ins[function_id]
        self._hub.scheduler.forget_call(stand_in.call_id, monotonic())
        if stand_in.container_id:
            self._gone(stand_in)
        elif command.fault is not Fault.STOPPED:
            _, self._failures[function_id] = _in_words(
                stand_in.claim.name, command.fault, command.detail
            )

    # -- what becomes of labels and containers

    def move(self, before: Claim, claim: Claim) -> None:
        """A label has gone to another function: who waits is served by that.

        Requests under way stay where they are.
        """
        for lease in list(self._leases.values()):
            if lease.claim is not before:
                continue
            if lease.container_id:
                self._tell("revoked", lease=lease.number, cut_s=None)
            else:
                del self._leases[lease.number]
                self._end(lease)
                self.ask(lease.number, claim.label, b"", lease.parameters)
        stand_in = self._stand_ins.get(before.function.function_id)
        if stand_in is not None and stand_in.claim is before:
            self._fulfil(stand_in)

    def forget(self, claim: Claim) -> None:
        """A label leads nowhere: no container is wanted any more."""
        function_id = claim.function.function_id
        self._failures.pop(function_id, None)
        if function_id in self._stand_ins:
            self._fulfil(self._stand_ins[function_id])

    def revoke(self, container_id: str) -> None:
        """A container is about to end: no further request goes there."""
        for lease in self._leases.values():
            if lease.container_id == container_id:
                self._tell("revoked", lease=lease.number, cut_s=None)


def _in_words(name: str, fault: Fault, detail: object) -> tuple[int, str]:
    """Status and text for a request that no container will serve."""
    if fault is Fault.STOPPED:
        return 503, f"the app of `{name}` was stopped"
    text = str(detail)
    if isinstance(detail, bytes):  # the user's own code did not load
        fields: dict[str, Any] = values.decode_map(detail)
        text = f"{fields.get('type', '')}: {fields.get('message', '')}"
    return 500, f"no container of `{name}` starts: {text[:DETAIL_CHARS_MAX]}"
