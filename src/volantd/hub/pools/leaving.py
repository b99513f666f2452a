"""Requests of containers that want to end: with what they run, or at once."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volantd.hub.session import Session


def container_retire(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Give the container that asks no more inputs; it ends with those that it has begun."""
    now = monotonic()
    unit_id = session.hub.services.agent.unit_of(session.container_id)
    session.hub.apply(session.hub.scheduler.retire_container(unit_id, now), now)
    return {}


def container_preempt(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End the container that asks, as if its room were needed; its inputs run again elsewhere."""
    agent = session.hub.services.agent
    if agent.has(session.container_id):
        agent.preempt(session.container_id, "it asked for its own preemption")
    return {}
