"""Slots of containers, lent to the gateway: each is an input in the core that lasts.

The core treats it like any other: it waits its turn, wants a container, and takes up room in one.
It is never sent there; instead the gateway is told that the slot is free for one request.

    ask ─► waits ─► granted ─► released             container gone: revoked
              └─► refused, or moved when the label goes to another function
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.wire import values
from volantd.core import Fault
from volantd.hub.deployed.replacing import close_faded, index_of
from volantd.hub.web import checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Dispatch, FailInput
    from volantd.hub.hub import Hub
    from volantd.hub.web.routes import Claim

log = logging.getLogger(__name__)

#: Leases that the gateway may have or wait for at once.
LEASES_MAX = 100_000
#: How long requests under way may go on when their app is stopped.
CUT_S = 1.0
#: Characters of what went wrong with a start that clients are told.
DETAIL_CHARS_MAX = 300


class Lease:
    """One slot, waited for or lent."""

    __slots__ = ("batch_id", "call_id", "claim", "container_id", "number")

    def __init__(self, number: int, call_id: str, claim: Claim) -> None:
        #: The gateway's name for it.
        self.number = number
        #: The core's.
        self.call_id = call_id
        self.claim = claim
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

    def __len__(self) -> int:
        return len(self._leases)

    def held_by(self, container_id: str) -> int:
        """How many slots of a container are lent."""
        return self._held[container_id]

    def pools(self) -> set[str]:
        """Pools whose slots are waited for, or lent."""
        return {lease.claim.function.function_id for lease in self._leases.values()}

    # -- what the gateway asks

    def ask(self, number: int, label: str) -> None:
        """Have the gateway wait for a slot of whoever holds a label.

        Raises:
            ValueError: for a number that is in use, or too many leases.
        """
        if number in self._leases or len(self._leases) >= LEASES_MAX:
            raise ValueError(f"the gateway cannot have lease {number}")
        claim = self._find(label)
        if claim is None:
            self._tell("refused", lease=number, status=404, detail="this web function is gone")
            return
        self._submit(number, claim)

    def _submit(self, number: int, claim: Claim) -> None:
        scheduler, now = self._hub.scheduler, monotonic()
        lease = Lease(number, f"lease-{next(self._numbers)}", claim)
        self._leases[number] = self._by_call[lease.call_id] = lease
        scheduler.open_call(lease.call_id, claim.function.function_id, now, True)
        self._hub.apply(scheduler.submit(lease.call_id, 0, 1, lease, now), now)
        self._hub.note_change(claim.function)
        if claim.function.options["gpu"]:
            self._hub.note_lack(claim.function)

    def release(self, number: int) -> None:
        """Take back a lease, granted or not; one that is unknown was taken back before."""
        lease = self._leases.pop(number, None)
        if lease is not None:
            self._end(lease)

    def _end(self, lease: Lease) -> None:
        scheduler, now = self._hub.scheduler, monotonic()
        del self._by_call[lease.call_id]
        if lease.container_id:
            self._gone(lease)
            _, commands = scheduler.succeeded(lease.container_id, lease.batch_id, 1, 0, now)
            self._hub.apply(commands, now)
        self._hub.apply(scheduler.forget_call(lease.call_id, now), now)
        function = lease.claim.function
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

    # -- what the core says

    def dispatched(self, command: Dispatch) -> None:
        """A slot is free for a lease."""
        lease = self._by_call[command.batch.call_id]
        lease.container_id, lease.batch_id = command.container_id, command.batch.batch_id
        self._held[lease.container_id] += 1
        claim, serving = lease.claim, self._hub.links[command.container_id].function
        method: int | None = claim.method
        if serving is not claim.function and serving.spec["methods"]:
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
        self._hub.note_change(lease.claim.function)

    def failed(self, command: FailInput) -> None:
        """There is no slot for a lease, or no longer."""
        lease = self._by_call.pop(command.call_id)
        del self._leases[lease.number]
        self._hub.scheduler.forget_call(lease.call_id, monotonic())
        if lease.container_id:
            self._gone(lease)
            self._tell("revoked", lease=lease.number, cut_s=CUT_S)
            return
        claim = self._find(lease.claim.label)
        if claim is not None and claim.function is not lease.claim.function:
            self._submit(lease.number, claim)
            return
        status, detail = _in_words(lease.claim.name, command.fault, command.detail)
        self._tell("refused", lease=lease.number, status=status, detail=detail)

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
                self._submit(lease.number, claim)

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
