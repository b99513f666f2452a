"""Requests of user code about the volumes that are mounted in its container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volantd.hub import checks
from volantd.hub.volumes.answering import answer_later, volume_of, volumes_of

if TYPE_CHECKING:
    from volantd.hub.session import Session


def volume_commit(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Commit what the container that asks has written to a volume, or to all of its volumes."""
    if volumes_of(session, message) is None:
        return None
    mounted = _mounted(session)
    if message["object_id"] is not None:
        checks.text(message, "object_id")
    wanted = message["object_id"]

    async def commit() -> dict[str, Any]:
        for volume_id in mounted if wanted is None else [wanted]:
            await session.hub.services.agent.volumes.commit(session.container_id, volume_id)
        return {}

    answer_later(session, message, commit())
    return None


def volume_reload(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Have the container that asks see what others have committed."""
    if volumes_of(session, message) is None:
        return None
    _mounted(session)
    volume = volume_of(session, message)

    async def reload() -> dict[str, Any]:
        await session.hub.services.agent.volumes.reload(session.container_id, volume.object_id)
        return {}

    answer_later(session, message, reload())
    return None


def _mounted(session: Session) -> list[str]:
    """The volumes of the container that asks."""
    if session.container_function is None:
        raise InvalidError("only a container can commit or reload what is mounted in it")
    mounted = session.container_function.options["volumes"]
    return [one["volume"] for one in mounted if "volume" in one]


HANDLERS = (volume_commit, volume_reload)
