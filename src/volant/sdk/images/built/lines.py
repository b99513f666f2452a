"""How far images are, as lines of text: where no terminal shows it as a picture.

    image of square: step 2 of 3: apt jq
    image of square: Setting up jq (1.6-2.1) ...
    image of cube: built in 12.3 s

Every line says which image it is about, for several are built side by side. What a step prints
that several of them wait for is written once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: A line that is longer comes in pieces.
LINE_BYTES_MAX = 16 << 10


def label_of(event: dict[str, Any]) -> str:
    """What people know an image by: the functions that it is for, if the app has several images."""
    names, count = list(event["functions"]), event["function_count"]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"image of {', '.join(names)}{more}" if names else "image"


def outcome_of(state: str, took_s: float) -> str:
    """How a build has ended, in words."""
    if state == "cached":
        return "cached"
    return f"{'built in' if state == 'built' else 'failed after'} {took_s:.1f} s"


class LineReader:
    """Takes what a step prints apart into lines; of one that was overwritten, what came last."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[bytes]:
        """The lines that are complete with this."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            lines.append(self._rest)
            self._rest = b""
        return [_last(line) for line in lines]

    def end(self) -> list[bytes]:
        """What was not complete."""
        rest, self._rest = self._rest, b""
        return [_last(rest)] if rest else []


def _last(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]


class BuildLines:
    """Writes the progress of all images that are built."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        """`write`: of an `Output`."""
        self._write = write
        self._readers: dict[str, LineReader] = {}
        #: id of an image -> id of the step that it is at
        self._steps: dict[str, str] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Write what there is to say about an event."""
        image, state = event["image_id"], event["state"]
        reader = self._readers.setdefault(image, LineReader())
        if state == "log":
            lines = reader.take(event["data"]) if self._is_first(image) else []
        elif state == "step":
            said = f"step {event['number']} of {event['count']}: {event['text']}"
            lines = [*reader.end(), said.encode()]
            self._steps.pop(image, None)
            self._steps[image] = event["step_id"]
        else:
            lines = [*reader.end(), outcome_of(state, event["took_s"]).encode()]
            del self._readers[image]
            self._steps.pop(image, None)
        if lines:
            before = label_of(event).encode() + b": "
            self._write("stderr", b"".join(before + line + b"\n" for line in lines))

    def _is_first(self, image: str) -> bool:
        """Whether no other image came to the step before that this one is at."""
        step = self._steps.get(image)
        return next((one for one, at in self._steps.items() if at == step), image) == image
