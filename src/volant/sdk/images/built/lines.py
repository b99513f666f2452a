"""How far images are, as lines of text: where no terminal shows it as a picture.

    image of square: step 2 of 3: apt jq, 4.1 s
    image of cube: step 1 of 9: debian bookworm, 20 s so far
    image of cube: built in 12.3 s

Every line says which image it is about, for several are built side by side. A step that several of
them wait for is written once, when it is over; in between only that it goes on, as long as it
prints something. What it prints is shown by the error of one that fails, and here to those who ask
for all of it.
"""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: A line that is longer comes in pieces.
LINE_BYTES_MAX = 16 << 10
#: A step that takes longer is said to go on, again whenever it has taken twice as long.
LONG_S = 10.0


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


class _Step:
    """What an image is at."""

    def __init__(self, event: dict[str, Any], now: float) -> None:
        self.step_id = event["step_id"]
        self.text = f"step {event['number']} of {event['count']}: {event['text']}"
        self.began = now
        self.told_after_s = LONG_S


class BuildLines:
    """Writes the progress of all images that are built."""

    def __init__(
        self, write: Callable[[str, bytes], None], *, is_verbose: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """Begin with nothing.

        Args:
            write: of an `Output`.
            is_verbose: write when steps begin, and all that they print.
            clock: tells how long steps take, in seconds.
        """
        self._write = write
        self._is_verbose = is_verbose
        self._clock = clock
        self._readers: dict[str, LineReader] = {}
        #: By the id of the image.
        self._steps: dict[str, _Step] = {}
        #: Ids of steps whose end was written.
        self._ended: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """Write what there is to say about an event."""
        state = event["state"]
        if state == "log":
            lines = self._printed(event)
        elif state == "step":
            lines = self._leave(event["image_id"])
            step = self._steps[event["image_id"]] = _Step(event, self._clock())
            if self._is_verbose:
                lines.append(step.text.encode())
        else:
            lines = self._leave(event["image_id"], has_failed=state == "failed")
            lines.append(outcome_of(state, event["took_s"]).encode())
            if not self._steps:
                self._ended.clear()
        if lines:
            before = label_of(event).encode() + b": "
            self._write("stderr", b"".join(before + line + b"\n" for line in lines))

    def _leave(self, image: str, *, has_failed: bool = False) -> list[bytes]:
        """What to write at the end of the step that an image is at."""
        step = self._steps.pop(image, None)
        if self._is_verbose:
            reader = self._readers.pop(image, None)
            return reader.end() if reader is not None else []
        if step is None or step.step_id in self._ended:
            return []
        self._ended.add(step.step_id)
        took_s = self._clock() - step.began
        how = "failed after " if has_failed else ""
        return [f"{step.text}, {how}{took_s:.1f} s".encode()]

    def _printed(self, event: dict[str, Any]) -> list[bytes]:
        """What to write when a step has printed something."""
        image = event["image_id"]
        step = self._steps.get(image)
        if step is None or self._first_at(step) != image:
            return []
        if self._is_verbose:
            return self._readers.setdefault(image, LineReader()).take(event["data"])
        taken_s = self._clock() - step.began
        if taken_s < step.told_after_s:
            return []
        step.told_after_s = 2 * taken_s
        return [f"{step.text}, {taken_s:.0f} s so far".encode()]

    def _first_at(self, step: _Step) -> str:
        """The image that came to a step before all others that are at it."""
        return next(one for one, at in self._steps.items() if at.step_id == step.step_id)
