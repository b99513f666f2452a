"""Sessions of servers that own a container, from when they are started until they end.

    started ─► waits ─► has a container ─► requests that name it ─► ended: by its token, or idle
                                     └─► the container is gone, and the session with it

To the core such a session is a lease that lasts, in a pool whose containers take one and end with
it. Its requests need no slot: they are granted here, up to what a container takes.
"""

from __future__ import annotations

import asyncio
import hashlib
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
    TimeoutError as VolantTimeoutError,
)
from volantd import fields
from volantd.core import Fault
from volantd.hub.pools import autoscaler
from volantd.images.requests import later

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Dispatch, FailInput
    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.hub.web.routes import Claim

#: Sessions that there may be at once, all servers together.
OWNERS_MAX = 10_000
#: How long one waits for its container.
START_WAIT_S = 25 * 60.0
#: The longest that one may be idle before it ends.
IDLE_TIMEOUT_S_MAX = 7 * 86400
#: Characters of what a client calls a session, and of its token.
NAME_CHARS_MIN, NAME_CHARS_MAX = 16, 128


class Owner:
    """One session, and the container that it has."""

    __slots__ = (
        "batch_id", "call_id", "claim", "container_id", "idle_timeout_s", "key", "ready",
        "requests", "timer", "token_hash",
    )  # fmt: skip

    def __init__(
        self, call_id: str, claim: Claim, key: bytes, token_hash: bytes, idle_timeout_s: float,
        ready: asyncio.Future[None],
    ) -> None:  # fmt: skip
        #: The core's name for it.
        self.call_id = call_id
        self.claim = claim
        #: What the gateway tells its requests by.
        self.key = key
        self.token_hash = token_hash
        self.idle_timeout_s = idle_timeout_s
        #: Done once it has a container, or gets none.
        self.ready = ready
        self.container_id = ""
        self.batch_id = 0
        #: Numbers of the leases of its requests.
        self.requests: set[int] = set()
        self.timer: asyncio.TimerHandle | None = None


class Dedicated:
    """All sessions that own a container."""

    def __init__(self, hub: Hub, tell: Callable[..., None]) -> None:
        """`tell`: sends an event to the gateway."""
        self._hub = hub
        self._tell = tell
        self._numbers = count(1)
        self._by_call: dict[str, Owner] = {}
        self._by_key: dict[tuple[str, bytes], Owner] = {}
        self._by_token: dict[bytes, Owner] = {}
        self._by_request: dict[int, Owner] = {}

    def __len__(self) -> int:
        return len(self._by_call)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._by_call

    def pools(self) -> set[str]:
        """Pools with such sessions."""
        return {owner.claim.function.function_id for owner in self._by_call.values()}

    def held_by(self, container_id: str) -> int:
        """Whether a container is some session's: 1 or 0."""
        return sum(owner.container_id == container_id for owner in self._by_call.values())

    # -- what clients ask

    def start(
        self, claim: Claim, name: str, token: str, idle_timeout_s: float
    ) -> asyncio.Future[None]:
        """Begin a session; sent twice it is the same.

        Returns:
            Done when it has a container; ExecutionError when none starts.

        Raises:
            InvalidError: when the name is another session's.
            ResourceExhaustedError: when there are too many.
        """
        key, token_hash = _hash(name), _hash(token)
        function_id = claim.function.function_id
        known = self._by_key.get((function_id, key))
        if known is not None:
            if known.token_hash != token_hash:
                raise InvalidError("another session has this id")
            return known.ready
        if len(self._by_call) >= OWNERS_MAX or token_hash in self._by_token:
            raise ResourceExhaustedError(f"there are {len(self._by_call)} sessions already")
        hub, now, call_id = self._hub, monotonic(), f"session-{next(self._numbers)}"
        ready: asyncio.Future[None] = hub.loop.create_future()
        owner = Owner(call_id, claim, key, token_hash, idle_timeout_s, ready)
        self._by_call[call_id] = owner
        self._by_key[function_id, key] = self._by_token[token_hash] = owner
        hub.scheduler.open_call(call_id, function_id, now, True)
        hub.apply(hub.scheduler.submit(call_id, 0, 1, owner, now), now)
        hub.note_change(claim.function)
        return ready

    def terminate(self, claim: Claim, token: str) -> None:
        """End a session, and its container.

        Raises:
            NotFoundError: when no session of this server has such a token.
        """
        owner = self._by_token.get(_hash(token))
        if owner is None or owner.claim.function.function_id != claim.function.function_id:
            raise NotFoundError(
                f"no session of `{claim.name}` has this token", hint="it may have ended already"
            )
        self._end(owner)

    def _end(self, owner: Owner) -> None:
        hub, now = self._hub, monotonic()
        self._forget(owner, cut_s=0.0)
        if owner.container_id:
            _, commands = hub.scheduler.succeeded(owner.container_id, owner.batch_id, 1, 0, now)
            hub.apply(commands, now)
        elif not owner.ready.done():
            owner.ready.set_exception(ExecutionError("the session was ended"))
            owner.ready.exception()  # maybe nobody waits
        hub.apply(hub.scheduler.forget_call(owner.call_id, now), now)
        hub.note_change(owner.claim.function)

    def _forget(self, owner: Owner, cut_s: float) -> None:
        """Let go of a session; its requests have so long to finish."""
        del self._by_call[owner.call_id], self._by_token[owner.token_hash]
        del self._by_key[owner.claim.function.function_id, owner.key]
        if owner.timer is not None:
            owner.timer.cancel()
        for number in owner.requests:
            del self._by_request[number]
            self._tell("revoked", lease=number, cut_s=cut_s)

    def _on_idle(self, owner: Owner) -> None:
        self._end(owner)
        self._hub.after_events()

    # -- what the gateway asks

    def ask(self, number: int, claim: Claim, key: bytes) -> tuple[int, str] | None:
        """Grant a request of a session; else the status and the text that it is refused with."""
        owner = self._by_key.get((claim.function.function_id, key))
        if owner is None:
            return 404, f"`{claim.name}` answers to sessions that were started, and this is none"
        if not owner.container_id:
            return 503, f"the session of `{claim.name}` has no container yet"
        if len(owner.requests) >= claim.form["session_requests_max"]:
            return 429, f"the session of `{claim.name}` has as many requests as it takes"
        owner.requests.add(number)
        self._by_request[number] = owner
        if owner.timer is not None:
            owner.timer.cancel()
            owner.timer = None
        address = self._hub.containers.web_address(owner.container_id, claim.method)
        self._tell("granted", lease=number, container=owner.container_id, address=address)
        return None

    def release(self, number: int) -> bool:
        """Take a request's lease back; False if it is of no session here."""
        owner = self._by_request.pop(number, None)
        if owner is None:
            return False
        owner.requests.discard(number)
        if not owner.requests:
            self._arm(owner)
        return True

    def _arm(self, owner: Owner) -> None:
        owner.timer = self._hub.loop.call_later(owner.idle_timeout_s, self._on_idle, owner)

    def drop_requests(self) -> None:
        """The gateway is gone, and all requests with it; sessions stay."""
        for number in list(self._by_request):
            self.release(number)

    # -- what the core says

    def dispatched(self, command: Dispatch) -> None:
        """A session has its container."""
        owner = self._by_call[command.batch.call_id]
        owner.container_id, owner.batch_id = command.container_id, command.batch.batch_id
        owner.ready.set_result(None)
        self._arm(owner)
        self._hub.note_change(owner.claim.function)

    def failed(self, command: FailInput, text: str) -> None:
        """A session gets no container, or has lost it; `text` says why none starts."""
        owner = self._by_call[command.call_id]
        self._forget(owner, cut_s=0.0)
        self._hub.scheduler.forget_call(owner.call_id, monotonic())
        if not owner.ready.done():
            owner.ready.set_exception(ExecutionError(text))
            owner.ready.exception()  # maybe nobody waits
        elif command.fault is not Fault.STOPPED:
            self._hub.note_change(owner.claim.function)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# -- requests


def _claim(session: Session, message: dict[str, Any]) -> Claim:
    """The server that a message is about.

    Raises:
        InvalidError: for what has no such sessions.
    """
    function = autoscaler.find(session, message)
    for claim in session.hub.door.routes.claims.values():
        if claim.function is function and claim.has_sessions:
            return claim
    raise InvalidError(
        f"`{function.name}` has no sessions", hint="write @volant.sessioned() at the server"
    )


async def session_start(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Begin a session; answers when it has a container."""
    dedicated = session.hub.door.leases.dedicated
    claim, token = _claim(session, message), message["token"]
    ready = dedicated.start(claim, message["session"], token, message["idle_timeout_s"])
    session.hub.after_events()
    try:
        await asyncio.wait_for(asyncio.shield(ready), START_WAIT_S)
    except TimeoutError:
        dedicated.terminate(claim, token)
        raise VolantTimeoutError(
            f"no container of `{claim.name}` was free for a session in {START_WAIT_S:g} s"
        ) from None
    return {}


async def session_terminate(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End a session; its container ends with it."""
    session.hub.door.leases.dedicated.terminate(_claim(session, message), message["token"])
    session.hub.after_events()
    return {}


def _check_token(message: dict[str, Any]) -> None:
    if not NAME_CHARS_MIN <= len(fields.text(message, "token")) <= NAME_CHARS_MAX:
        raise ValueError("a token of a session is too short, or too long")
    fields.whole(message, "number")


def _check_start(message: dict[str, Any]) -> None:
    _check_token(message)
    name = fields.text(message, "session")
    if not NAME_CHARS_MIN <= len(name) <= NAME_CHARS_MAX or not name.isascii():
        raise ValueError("an id of a session is too short, too long, or no text for a field")
    fields.number(message, "idle_timeout_s", 1, IDLE_TIMEOUT_S_MAX)


#: User code in containers may ask for them as well: of servers that it can reach.
HANDLERS = [
    later(session_start, _check_start, images=False),
    later(session_terminate, _check_token, images=False),
]
