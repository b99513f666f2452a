"""What a sandbox is made of: its app, its image, and the contents that this needs."""

from __future__ import annotations

from volant import _context
from volant.channel import current
from volant.errors import InvalidError
from volant.sdk.deploying.contents import upload
from volant.sdk.images.host import host_wire
from volant.sdk.objects.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.app import App
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps


def place_of(app: App | None, image: Image | None) -> tuple[str, Image | None]:
    """The id of a sandbox's app, and its image.

    Raises:
        InvalidError: when there is no app, or it does not run.
    """
    if app is None:
        if not _context.in_container():
            raise InvalidError(
                "a sandbox needs an app: Sandbox.create(..., app=app)",
                hint='volant.App.lookup("name", create_if_missing=True) is one that lasts',
            )
        return _context.app_id, image
    if app.app_id is None:
        raise InvalidError(
            f"{app!r} does not run, so it can have no sandboxes",
            hint="create them in `with app.run():`, or use volant.App.lookup(name)",
        )
    return app.app_id, app._image if image is None else image


def create(
    sandbox_id: str, app_id: str, image: Image | None, wire: dict[str, object]
) -> Steps[None]:
    """Describe a sandbox to the hub, and wait for its image if that is built.

    Raises:
        Error: what the hub says, or what the image could not be built for.
    """
    described = None if image is None or _context.in_container() else image.described()
    wire["image"] = host_wire() if described is None else described.wire
    reply = yield ask("sandbox_create", sandbox_id=sandbox_id, app_id=app_id, sandbox=wire)
    if described is None:
        return
    upload(current.channel(), reply["need"], described.contents)
    yield ask("sandbox_started", sandbox_id=sandbox_id)


def terminal_size() -> list[int]:
    """Rows and columns of the local terminal."""
    from volant.sdk.terminal import local

    return list(local.size())
