"""`image.logs`: what the steps of an image printed when they were built."""

from __future__ import annotations

from volant.channel import current
from volant.errors import ExecutionError, InvalidError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.calls.logs import LogEntry
from volant.sdk.images.built.building import refuse_in_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from volant.channel.channel import Channel
    from volant.sdk.images.image import Image

#: Lines that `tail` gives when nobody says how many.
TAIL_DEFAULT = 100


class Logs:
    """The log of one image."""

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def fetch(self) -> Ask:
        """Lines of the last steps: `fetch(*, layers=1, search_text="")`.

        Args (when called):
            layers: how many steps, counted from the last.
            search_text: only lines in which this is.
        """
        return Ask(self._image, "fetch")

    @property
    def tail(self) -> Ask:
        """The last lines of all steps: `tail(entries=100)`."""
        return Ask(self._image, "tail")


class Ask:
    """`image.logs.fetch(...)` or `image.logs.tail(...)`, and their `.aio`."""

    __slots__ = ("_image", "_name")

    def __init__(self, image: Image, name: str) -> None:
        self._image = image
        self._name = name

    def __call__(self, *args: int, **kwargs: Any) -> list[LogEntry]:
        choose = self._chosen(*args, **kwargs)
        name = f"image.logs.{self._name}"
        warn_blocking(f"{name}(...)", f"await {name}.aio(...)")
        return choose(self._read())

    async def aio(self, *args: int, **kwargs: Any) -> list[LogEntry]:
        import asyncio

        choose = self._chosen(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return choose(await loop.run_in_executor(None, self._read))

    def _chosen(self, *args: int, **kwargs: Any) -> Callable[[list[LogEntry]], list[LogEntry]]:
        refuse_in_container(f"image.logs.{self._name}")
        choose = (_tail if self._name == "tail" else _fetch)(*args, **kwargs)
        if self._image._object_id is None:
            raise ExecutionError(
                f"{self._image!r} has no log that could be found",
                hint="call image.build() or image.hydrate() first",
            )
        return choose

    def _read(self) -> list[LogEntry]:
        entries: list[LogEntry] = []
        step: dict[str, Any] = {"image_id": "", "at": None}
        text = b""
        for piece in pieces(current.channel(), str(self._image._object_id), wait=False):
            if "begins" in piece or "end" in piece:
                entries += _entries(step, text)
                step, text = piece.get("begins", step), b""
            text += piece["data"]
        return entries


def _entries(step: dict[str, Any], text: bytes) -> list[LogEntry]:
    """The lines of one step, which has one stream; its time is when it was built."""
    from datetime import datetime, timezone

    built_at = None if step["at"] is None else datetime.fromtimestamp(step["at"], timezone.utc)
    image_id = str(step["image_id"])
    return [
        LogEntry(line, built_at, "stdout", image_id, (image_id,))
        for line in text.decode("utf-8", "replace").splitlines()
    ]


def pieces(channel: Channel, image: str, *, wait: bool) -> Iterator[dict[str, Any]]:
    """The log of an image piece by piece, the last one with `end` in it.

    Args:
        image: an id, or the beginning of one, or a published name.
        wait: whether to go on while the image is being built.

    Raises:
        NotFoundError: when there is no such image.
    """
    at: dict[str, Any] = {"image_id": image, "step": -1, "offset": 0}
    while "end" not in at:
        at = channel.request(
            "image_logs", image=at["image_id"], step=at["step"], offset=at["offset"], wait=wait
        )
        yield at


def _fetch(*, layers: int = 1, search_text: str = "") -> Callable[..., list[LogEntry]]:
    if layers < 1:
        raise InvalidError(f"image.logs.fetch: layers must be 1 or more, got {layers!r}")

    def choose(entries: list[LogEntry]) -> list[LogEntry]:
        steps = list(dict.fromkeys(entry.object_id for entry in entries))[-layers:]
        return [
            entry for entry in entries
            if entry.object_id in steps and search_text in entry.message
        ]  # fmt: skip

    return choose


def _tail(entries: int = TAIL_DEFAULT) -> Callable[..., list[LogEntry]]:
    if entries < 1:
        raise InvalidError(f"image.logs.tail: entries must be 1 or more, got {entries!r}")
    return lambda found: found[-entries:]
