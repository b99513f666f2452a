"""The hub's side of the gateway: routes and tokens told, leases asked for and given.

It may be that no gateway runs: before the first web function, and for a moment after one has died.
Whoever comes is told all that there is.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from volant.wire import frames, values
from volantd import fields
from volantd.hub.pools.configuration import pool_config
from volantd.hub.sandboxes.connecting import Ways
from volantd.hub.web.leases import Leases
from volantd.hub.web.routes import Claim, Routes
from volantd.hub.web.tokens import TokenBook

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from volantd.hub.hub import Hub
    from volantd.hub.peer import Peer
    from volantd.hub.records import App
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.hub.session import Session

log = logging.getLogger(__name__)


class Door:
    """Where HTTP comes in, as far as the hub is concerned."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._peer: Peer | None = None
        self.routes = Routes(self._on_route, self._on_lost)
        #: Ways in to sandboxes.
        self.ways = Ways(self.tell)
        self.leases = Leases(hub, self.tell, self.routes.claims.get)
        self.tokens: TokenBook
        #: Called when there is a route, so that somebody listens.
        self.want: Callable[[], None] = lambda: None
        #: What users should know of how it listens.
        self.notice = ""
        self._told: WeakSet[Session] = WeakSet()
        self._questions = count(1)
        self._counting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        #: Gives the address of a label.
        self.url_of: Callable[[str], str] = "/{}/".format

    # -- apps

    def open_app(self, app: App) -> None:
        """Make an app's web functions known; one that only runs earlier calls has none."""
        if app.state == "pinned" or app.replays:
            return
        self.routes.add(app, self._url)
        session = app.session
        if not (app.urls and self.notice and app.output):  # a script without output stays silent
            return
        if session is not None and session not in self._told:
            self._told.add(session)
            session.event("notice", text=self.notice)

    def close_app(self, app: App) -> None:
        """Make them unknown, as far as they still are this app's; who had them before has them."""
        self.routes.remove(app)
        for other in reversed(list(self._hub.apps.values())):
            free = [label for label in other.lost_labels if label not in self.routes.claims]
            if free and other is not app:
                self.open_app(other)
                back = sorted(self.routes.claims.keys() & free)
                if back:
                    self._notice(other, f"reached at `{'`, `'.join(back)}` again")

    def let_in(self, sandbox: Sandbox, port: int, address: str, metadata: str) -> tuple[str, str]:
        """A token for a port of a sandbox, and the address for which it is good."""
        label, token = self.ways.add(sandbox, port, address, metadata)
        return self._url(label), token

    def _url(self, label: str) -> str:
        self.want()
        return self.url_of(label)

    def _on_route(self, claim: Claim, before: Claim | None) -> None:
        self._tell_route(claim)
        if before is not None and before.function.app is not claim.function.app:
            self._tell_lost(claim, before)
        if before is not None:
            self.leases.move(before, claim)

    def _tell_lost(self, claim: Claim, before: Claim) -> None:
        """Tell the client of an app that another, such as a second `volant serve`, has a label."""
        taker = claim.function.app
        self._notice(
            before.function.app,
            f"`{before.name}` is not reached at `{claim.label}` any more: app `{taker.name}` "
            f"({taker.app_id}), which began later, has that label until it ends",
        )

    @staticmethod
    def _notice(app: App, text: str) -> None:
        if app.session is not None:
            app.session.event("notice", text=text)

    def _tell_route(self, claim: Claim) -> None:
        options = claim.function.options
        self.tell(
            "route", label=claim.label, name=claim.name, domains=list(claim.domains),
            timeout_s=pool_config(claim.function).timeout_s,
            single_use=options["single_use"] and not claim.has_sessions,
            requires_proxy_auth=claim.form["requires_proxy_auth"], stateless=claim.is_stateless,
            parameters=claim.parameters.names(),
            h2_enabled=claim.is_stateless and claim.form.get("h2_enabled", False),
        )  # fmt: skip

    def _on_lost(self, claim: Claim) -> None:
        self.leases.forget(claim)
        self.tell("unroute", label=claim.label)

    # -- the gateway

    def tell(self, op: str, **more: object) -> None:
        """Send an event, if somebody is there to hear it."""
        if self._peer is not None:
            event = values.encode({"op": op, **more})
            self._peer.write(frames.control(frames.EVENT, event))

    def count(self, label: str, parts: Sequence[float]) -> asyncio.Future[dict[str, Any]]:
        """How requests of a label went: done with `since`, `statuses` and `quantiles_s`.

        Without a gateway, and when it goes meanwhile, nothing is known: an empty one.
        """
        counted: asyncio.Future[dict[str, Any]] = self._hub.loop.create_future()
        if self._peer is None:
            counted.set_result({})
        else:
            question = next(self._questions)
            self._counting[question] = counted
            self.tell("count", label=label, question=question, parts=list(parts))
        return counted

    def tell_tokens(self) -> None:
        """Say which tokens are good."""
        self.tell("tokens", hashes=self.tokens.hashes())

    def attach(self, peer: Peer) -> None:
        """Serve a gateway that has come."""
        self._peer = peer
        peer.serve(self)
        self.tell_tokens()
        for claim in self.routes.claims.values():
            self._tell_route(claim)
        self.ways.tell_all()

    def on_frame(self, kind: int, flags: int, body: bytes) -> None:
        """Take one frame of the gateway."""
        if kind != frames.EVENT:
            raise ValueError(f"the gateway sent a frame of type {kind}")
        event: dict[str, Any] = values.decode_map(body)
        if event["op"] == "lease":
            parameters = fields.mapping(event, "parameters")
            for name in parameters:
                fields.raw(parameters, name)
            self.leases.ask(
                fields.whole(event, "lease"), fields.text(event, "route"),
                fields.raw(event, "session"), parameters,
            )  # fmt: skip
        elif event["op"] == "release":
            self.leases.release(fields.whole(event, "lease"))
        elif event["op"] == "counted":
            counted = self._counting.pop(fields.whole(event, "question"))
            if not counted.done():
                counted.set_result(event)

    def on_drained(self) -> None:
        """Nothing waits for that here: events are few."""

    def on_closed(self) -> None:
        """The gateway is gone; who keeps it starts another."""
        self._peer = None
        self.leases.drop_all()
        while self._counting:
            _, counted = self._counting.popitem()
            if not counted.done():
                counted.set_result({})
