"""Requests for tunnels: `volant.forward`, by user code in a container for a port of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.hub import checks

if TYPE_CHECKING:
    from volantd.hub.session import Session

PORT_MAX = 65535


def tunnel_open(session: Session, message: dict[str, Any]) -> None:
    """Answer with number, host and port of a tunnel, and whether TLS is spoken, when it is open."""
    port = checks.whole(message, "port", 1, PORT_MAX)
    is_plain = checks.switch({"plain": False, **message}, "plain")
    session.hub.services.tunnels.open(session, message["id"], port, is_plain=is_plain)


def tunnel_close(session: Session, message: dict[str, Any]) -> None:
    """Answer when a tunnel is closed, and nothing passes it any more."""
    tunnel = checks.whole(message, "tunnel")
    session.hub.services.tunnels.close(session, message["id"], tunnel)
