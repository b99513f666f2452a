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
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.images.chain import Described
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Question, Steps


def _check_kinds(app: object, image: object) -> None:
    """Raise for what is no app or no image.

    Raises:
        InvalidError: saying which, and how one is had.
    """
    if app is not None:
        from volant.sdk.app import App

        if not isinstance(app, App):
            raise InvalidError(
                f"app is no volant.App, got {app!r}",
                hint='volant.App.lookup("name", create_if_missing=True) is one that lasts',
            )
    if image is not None:
        from volant.sdk.images.image import Image

        if not isinstance(image, Image):
            raise InvalidError(
                f"image is no volant.Image, got {image!r}",
                hint="volant.Image.debian_slim() or volant.Image.from_registry('...') is one",
            )


def place_of(app: App | None, image: Image | None) -> tuple[str, Image | None]:
    """The id of a sandbox's app, and its image.

    Raises:
        InvalidError: when there is no app, or it does not run; for what is no app or no image.
    """
    _check_kinds(app, image)
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


def image_of(image: Image | None) -> tuple[dict[str, Any], Described | None]:
    """An image as a control message carries it, and what is to be uploaded for it.

    Args:
        image: None for this machine.
    """
    described = None if image is None else image.described()
    return (host_wire(), None) if described is None else (described.wire, described)


def create(
    sandbox_id: str, app_id: str, image: Image | None, wire: dict[str, object]
) -> Steps[None]:
    """Describe a sandbox to the hub, and wait for its image if that is built.

    Raises:
        Error: what the hub says, or what the image could not be built for.
    """
    wire["image"], described = image_of(image)
    asked = ask("sandbox_create", sandbox_id=sandbox_id, app_id=app_id, sandbox=wire)
    yield from send(asked, sandbox_id, described)


def send(asked: Question, sandbox_id: str, described: Described | None) -> Steps[None]:
    """Say what a sandbox is, send what its image lacks, and wait for it if that is built.

    Args:
        asked: says what it is.
        sandbox_id: its id.
        described: what `image_of` has told.

    Raises:
        Error: as `create`.
    """
    reply = yield asked
    if described is None:
        return
    upload(current.channel(), reply["need"], described.contents)
    yield ask("sandbox_started", sandbox_id=sandbox_id)


def terminal_size() -> list[int]:
    """Rows and columns of the local terminal."""
    from volant.sdk.terminal import local

    return list(local.size())
