"""Requests about what sandboxes have among their files: snapshots, images, volumes.

User code in a container makes sandboxes of its own image alone, and so no other images either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError, TimeoutError as WaitedTooLongError
from volantd.fields import number, optional, text
from volantd.hub.checks import FORBIDDEN_MOUNTS
from volantd.hub.sandboxes.checked import PATH_CHARS_MAX
from volantd.hub.sandboxes.requests import WAIT_MAX_S, started
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.session import Session


async def sandbox_snapshot(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make an image of the files of a sandbox, and answer with its id."""
    sandbox = await started(session, message)
    made = await session.hub.services.sandboxes.snapshot(
        sandbox, message["timeout_s"], message["ttl_s"]
    )
    return {"image_id": made}


async def sandbox_snapshot_directory(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make an image of what a directory of a sandbox shows, and answer with its id."""
    sandbox = await started(session, message)
    sandbox.check_kernel("an image of a directory")
    made = await session.hub.services.sandboxes.contents.snapshot(
        sandbox, path_of(message), message["timeout_s"], message["ttl_s"]
    )
    return {"image_id": made}


async def sandbox_mount_image(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Mount an image that is here into a sandbox, and answer when it is there."""
    sandbox = await started(session, message)
    sandbox.check_kernel("an image that is mounted later")
    path, contents = path_of(message), session.hub.services.sandboxes.contents
    await contents.mount(sandbox, path, message["image_id"])
    return {}


async def sandbox_unmount_image(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Take an image away that was mounted, and answer when it is gone."""
    sandbox = await started(session, message)
    await session.hub.services.sandboxes.contents.unmount(sandbox, path_of(message))
    return {}


async def sandbox_reload_volumes(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Have a sandbox see what others have committed, and answer when it does."""
    sandbox, seconds = await started(session, message), message["timeout_s"]
    sandbox.check_kernel("a volume that is reloaded")
    try:
        await session.hub.services.sandboxes.contents.reload(sandbox, seconds)
    except TimeoutError:
        what = f"the volumes of {sandbox.sandbox_id} were not reloaded within {seconds:g} s"
        raise WaitedTooLongError(what) from None
    return {}


# -- checks


def path_of(message: dict[str, Any]) -> str:
    """A directory of a sandbox, without what makes one path look like two.

    Raises:
        InvalidError: for a path that leads elsewhere, or where nothing is anybody's to change.
        ValueError: for what is no path.
    """
    path = text(message, "path")
    if "\0" in path or len(path) > PATH_CHARS_MAX:
        raise ValueError("`path` is no path")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not path.startswith("/") or not names or ".." in names or names[0] in FORBIDDEN_MOUNTS:
        raise InvalidError(
            f"{path[:200]!r} cannot be used for this",
            hint="give an absolute path without `..`, such as '/data'",
        )
    return "/" + "/".join(names)


def _check_path(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")
    text(message, "path")


def _check_mount(message: dict[str, Any]) -> None:
    _check_path(message)
    text(message, "image_id")


def _check_time(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")
    number(message, "timeout_s", 0, WAIT_MAX_S)


def _check_snapshot(message: dict[str, Any]) -> None:
    _check_time(message)
    optional(number, message, "ttl_s", 0.001, WAIT_MAX_S)


def _check_snapshot_directory(message: dict[str, Any]) -> None:
    _check_snapshot(message)
    text(message, "path")


#: Also for user code in containers.
HANDLERS = (
    later(sandbox_reload_volumes, _check_time, images=False),
    later(sandbox_snapshot, _check_snapshot, images=False),
    later(sandbox_snapshot_directory, _check_snapshot_directory),
    later(sandbox_mount_image, _check_mount, images=False),
    later(sandbox_unmount_image, _check_path, images=False),
)
