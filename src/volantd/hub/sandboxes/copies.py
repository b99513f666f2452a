"""Requests about copies of sandboxes with all that runs in them: forks and memory snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import InvalidError, NotFoundError
from volantd.fields import text
from volantd.hub.sandboxes import checked
from volantd.hub.sandboxes.making import app_of
from volantd.hub.sandboxes.requests import find, may_see, started, wait_for_start
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.hub.session import Session


async def sandbox_fork(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make a copy of a sandbox, and answer when that runs."""
    sandbox, wanted = find(session, message), message["copy_id"]
    await wait_for_start(sandbox)
    _check_alone(session, sandbox, "fork")
    sandbox.check_kernel("a fork")
    copy = session.hub.sandboxes.get(wanted)
    if copy is None:  # else asked again over another connection
        name = checked.name_of(message)
        copy = await session.hub.services.sandboxes.copies.fork(sandbox, wanted, name)
    return await _started(copy)


async def sandbox_memory_snapshot(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Keep what runs in a sandbox, and answer with an id of that."""
    sandbox = await started(session, message)
    _check_alone(session, sandbox, "memory snapshot")
    sandbox.check_kernel("a memory snapshot")
    made = await session.hub.services.sandboxes.copies.snapshot(sandbox)
    return made.row()


def _check_alone(session: Session, sandbox: Sandbox, what: str) -> None:
    """See to it that a sandbox shares its network with nobody: only one of them would be copied."""
    sandbox.check_alone(what)
    names = [str(one.name) for one in session.hub.sandboxes.sidecars_of(sandbox)]
    if names:
        raise InvalidError(
            f"sandbox {sandbox.sandbox_id} has sidecars, so there is no {what} of it: "
            + ", ".join(sorted(names)),
            hint="terminate them first",
        )


def sandbox_memory_snapshot_show(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The row of a memory snapshot."""
    return session.hub.services.sandboxes.copies.find(text(message, "snapshot_id")).row()


async def sandbox_restore(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make a sandbox of a memory snapshot, and answer when it runs."""
    copies, wanted = session.hub.services.sandboxes.copies, message["copy_id"]
    copy = session.hub.sandboxes.get(wanted)
    if copy is None:  # as above
        snapshot = copies.find(message["snapshot_id"])
        if not may_see(session, snapshot.source):
            raise NotFoundError(f"there is no snapshot {snapshot.snapshot_id!r}")
        app = app_of(session, snapshot.source.app.app_id)
        copy = copies.restore(snapshot, app, wanted, checked.name_of(message))
    return await _started(copy)


async def _started(copy: Sandbox) -> dict[str, Any]:
    await wait_for_start(copy)
    return copy.row()


def _check_copy(message: dict[str, Any]) -> None:
    checked.name_of(message)
    if not ids.is_id(text(message, "copy_id"), "sb"):
        raise ValueError("what a sandbox is to be called is no id of one")


def _check_fork(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")
    _check_copy(message)


def _check_snapshot(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")


def _check_restore(message: dict[str, Any]) -> None:
    text(message, "snapshot_id")
    _check_copy(message)


HANDLERS = (
    later(sandbox_fork, _check_fork, images=False),
    later(sandbox_memory_snapshot, _check_snapshot, images=False),
    later(sandbox_restore, _check_restore, images=False),
    sandbox_memory_snapshot_show,
)
