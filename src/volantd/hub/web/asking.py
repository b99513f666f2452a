"""The request about all web functions: where each is, and who may ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from volantd.hub.environments.book import told
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.session import Session


async def web_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Where the web functions of an environment are, with what a client needs to ask them."""
    hub = session.hub
    await asyncio.shield(hub.services.deployments.opened)
    door, environment = hub.door, hub.environments.of(session, told(message))
    return {
        "functions": [
            {
                "app": claim.function.app.name, "app_id": claim.function.app.app_id,
                "deployed": claim.function.app.state == "deployed", "name": claim.name,
                "label": claim.label, "url": door.url_of(claim.label),
                "requires_proxy_auth": claim.form["requires_proxy_auth"],
            }
            for claim in door.routes.claims.values()
            if claim.function.app.environment is environment
        ]
    }  # fmt: skip


def _check(message: dict[str, Any]) -> None:
    told(message)


HANDLERS = (later(web_list, _check, images=False),)
