"""Apps that are changed while they run: what `volant serve` does each time that a file is saved.

    staged app ──its program is imported──► replaces, at once, what the app was
                   └ a failure up to here changes nothing

The app keeps its id, its client and its logs; pools keep their ids and what waits in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import NotFoundError
from volantd.fields import text
from volantd.hub.deployed.replacing import replace
from volantd.hub.deployed.trying import ID_CHARS_MAX, staged_app, try_out
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.records import App
    from volantd.hub.session import Session


async def app_update(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Give an app that somebody runs what a staged app of this client is."""
    staged = staged_app(session, message["staged"])
    hub = session.hub
    try:
        _running(session, message["app_id"])
        await try_out(hub, staged)
        app = _running(session, message["app_id"])  # it may have ended meanwhile
        if staged.state != "staged":
            raise NotFoundError("its client is gone")  # and may have been followed by a later one
        app.name = staged.name
        replace(hub, app, staged, at_once=True)
        staged.functions = {}  # they are another app's now
    finally:
        hub.close_app(staged, "it has taken the place of another version")
    hub.after_events()
    return {"app_id": app.app_id, "functions": sorted(app.functions), "urls": app.urls}


def _running(session: Session, app_id: str) -> App:
    app: App | None = session.hub.apps.get(app_id)
    if app is None or app.state != "ephemeral":
        raise NotFoundError(f"no app {app_id[:ID_CHARS_MAX]!r} runs that could be updated")
    return app


def _check(message: dict[str, Any]) -> None:
    text(message, "app_id")
    text(message, "staged")


HANDLERS = [later(app_update, _check, images=False)]
