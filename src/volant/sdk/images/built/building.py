"""`image.build()`, `image.publish()` and `image.hydrate()`: what makes an image one that is there.

An image is built for an app without functions, which brings what its steps need and shows what
they print. Later uses of the image find it there.
"""

from __future__ import annotations

from volant import _context
from volant.channel import current
from volant.errors import ExecutionError, InvalidError, NotFoundError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.naming import check_environment
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.app import App
    from volant.sdk.generics import T
    from volant.sdk.images.image import Image
    from volant.sdk.objects.client import Client
    from volant.sdk.running import RunningApp

#: The name of the app that an image is built for, when no other is given.
APP_NAME = "image-build"


class Build:
    """`image.build(app=None)` and `image.build.aio(...)`."""

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, app: App | None = None) -> Image:
        self._check(app)
        warn_blocking("image.build(...)", "await image.build.aio(...)")
        return self._build(app)

    async def aio(self, app: App | None = None) -> Image:
        self._check(app)
        return await _aside(lambda: self._build(app))

    def _check(self, app: object) -> None:
        from volant.sdk.app import App

        refuse_in_container("image.build")
        if app is not None and not isinstance(app, App):
            raise InvalidError(f"image.build: app must be a volant.App, got {app!r}")

    def _build(self, app: App | None) -> Image:
        from volant.sdk.app import App
        from volant.sdk.running import RunningApp

        image = self._image
        if image._is_host:
            return image
        named = APP_NAME if app is None or app.name is None else app.name
        running = RunningApp(App(named, image=image), named, detach=False)
        running.open()
        try:
            image._object_id = _built_id(running)
        finally:
            running.close("the image is built", interrupted=False)
        return image


def _built_id(running: RunningApp) -> str:
    """Have the image of an app built; it is asked for again when the daemon was started anew."""
    while True:
        app_id = running.app._app_id
        try:
            reply = running.channel.request("image_build", app_id=app_id, index=0)
        except NotFoundError:
            if running.app._app_id == app_id:
                raise
        else:
            return str(reply["image_id"])


class Publish:
    """`image.publish("name[:tag]")` and `image.publish.aio(...)`."""

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, name: str, *, environment_name: str | None = None) -> None:
        word, tag = self._check(name, environment_name)
        warn_blocking("image.publish(...)", "await image.publish.aio(...)")
        self._publish(word, tag, environment_name)

    async def aio(self, name: str, *, environment_name: str | None = None) -> None:
        word, tag = self._check(name, environment_name)
        await _aside(lambda: self._publish(word, tag, environment_name))

    def _check(self, name: str, environment_name: str | None) -> tuple[str, str]:
        from volant.sdk.images import checks

        refuse_in_container("image.publish")
        check_environment(environment_name)
        if self._image._is_host:
            raise InvalidError(
                "Image.host() cannot be published: it is this machine's own environment",
                hint="begin with volant.Image.debian_slim() instead",
            )
        return checks.published_name(name)

    def _publish(self, word: str, tag: str, environment: str | None) -> None:
        image = Build(self._image)._build(None)  # it may have been evicted since it was built
        channel = current.channel()
        channel.request(
            "image_publish", image_id=image._object_id, name=word, tag=tag, environment=environment
        )


class HydrateImage:
    """`image.hydrate()` and `image.hydrate.aio()`: looks up what is there, builds nothing."""

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, client: Client | None = None) -> Image:
        check_client(client)
        if not self._is_known():
            warn_blocking("image.hydrate()", "await image.hydrate.aio()")
            self._look_up()
        return self._image

    async def aio(self, client: Client | None = None) -> Image:
        check_client(client)
        if not self._is_known():
            await _aside(self._look_up)
        return self._image

    def _is_known(self) -> bool:
        image = self._image
        if image._is_host or image._object_id is not None:
            return True
        if image._steps[0].kind in ("id", "name") and len(image._steps) == 1:
            return False
        raise ExecutionError(
            f"{image!r} cannot be hydrated by itself: it has to be built",
            hint="call image.build(), or run an app that uses it",
        )

    def _look_up(self) -> None:
        refuse_in_container("image.hydrate")
        fields = self._image._steps[0].fields
        reply = current.channel().request("image_lookup", **fields)
        self._image._object_id = str(reply["image_id"])


def refuse_in_container(what: str) -> None:
    """Raise where there is no daemon that could be asked.

    Raises:
        ExecutionError: in a container.
    """
    if _context.in_container():
        raise ExecutionError(
            f"{what} does not work in a container: images belong to the machine's user",
            hint="call it on the machine, in a local entrypoint or a script",
        )


async def _aside(work: Callable[[], T]) -> T:
    """Do blocking work on a thread."""
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, work)
