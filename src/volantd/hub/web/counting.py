"""Requests about requests: how those of a server went, as its gateway has counted them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volantd import fields
from volantd.hub.pools import autoscaler
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.session import Session

#: Which parts of all requests it is told of how long they took at most.
PARTS = (0.5, 0.9, 0.99)


async def web_counts(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How requests of a function with one address went, since it has that or its gateway runs."""
    function, door = autoscaler.find(session, message), session.hub.door
    for claim in door.routes.claims.values():
        if claim.function is function:
            counting = door.count(claim.label, PARTS)
            session.hub.after_events()
            known = await counting
            return {
                "since": known.get("since"), "statuses": known.get("statuses", {}),
                "quantiles_s": known.get("quantiles_s", [0.0] * len(PARTS)),
            }  # fmt: skip
    raise InvalidError(f"`{function.name}` does not answer to the web")


def _check(message: dict[str, Any]) -> None:
    if "number" in message:
        fields.whole(message, "number")
    else:
        fields.text(message, "function")


#: User code in containers may ask for it as well: of what it can reach.
HANDLERS = [later(web_counts, _check, images=False)]
