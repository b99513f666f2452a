"""Whether a version that nobody has called yet can be: its program is imported before it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant.errors import NotFoundError
from volantd.images.requests import FaultError

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.records import App
    from volantd.hub.session import Session

#: Of an id that was not found, what is said.
ID_CHARS_MAX = 64
#: Zygotes of different kinds that are tried out: imports that fail, fail a deployment.
TRIED_MAX = 16


def staged_app(session: Session, app_id: str) -> App:
    """The app that a client has staged under an id.

    Raises:
        NotFoundError: when it has not.
    """
    staged = session.apps.get(app_id)
    if staged is None or staged.state != "staged":
        raise NotFoundError(f"this client has staged no app {app_id[:ID_CHARS_MAX]!r}")
    return staged


async def try_out(hub: Hub, app: App) -> None:
    """See that the program of an app can be imported where its containers are forked from.

    Raises:
        FaultError: with what it raised, as it travels; the daemon does not open it.
    """
    seen = {}
    for function in app.functions.values():
        if function.version.snapshot is None:
            seen[function.version.key] = function.version
    for version in list(seen.values())[:TRIED_MAX]:
        fault = await hub.services.zygotes.try_out(version)
        if fault is not None:
            raise FaultError(fault)
