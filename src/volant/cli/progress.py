"""What a person at a terminal sees beside the program's own output: a region below it.

    output of the program and of its containers, byte for byte
    ─────────────────────────────────────────────────────────────
    hello                                   the region: drawn on standard error while calls are
    └── square  1 starting, 40 waiting      open, erased around every write, gone at the end

A run that is over within `DELAY_S` never draws. rich is imported by the drawing thread, after
that time, so that quick runs do not pay for it. The region is only drawn while the cursor is at
the start of a line, and while the program waits for an answer: prompts stay as they are.
"""

from __future__ import annotations

import sys
from _thread import RLock, allocate_lock, start_new_thread
from time import monotonic

from volant.channel import current
from volant.sdk.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from volant.channel.channel import Channel
    from volant.cli.progress_view import View

#: A run that is over sooner shows no progress.
DELAY_S = 0.15
#: Between two pictures.
PERIOD_S = 0.1
#: Of what a step of an image prints, the lines that are shown, and the bytes that one may have.
LINES_MAX = 3
LINE_BYTES_MAX = 4 << 10
#: Between two drawings when output comes fast.
REDRAW_S = 0.02


class MapProgress:
    """How far one map is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.total: int | None = None
        self.started = monotonic()
        #: when it was over, None before
        self.ended: float | None = None


class BuildProgress:
    """How far one image is."""

    def __init__(self) -> None:
        #: its last event but what a step prints
        self.told: dict[str, Any] = {}
        self.began = monotonic()
        #: the last lines that its step has printed, and the end that is not one yet
        self.lines: list[bytes] = []
        self._rest = b""

    def take(self, event: dict[str, Any]) -> None:
        """Note what happens to it."""
        if event["state"] != "log":
            self.told = event
            self.began = monotonic()
            self.lines, self._rest = [], b""
            return
        *lines, self._rest = (self._rest[-LINE_BYTES_MAX:] + event["data"]).split(b"\n")
        self.lines = [*self.lines, *filter(bytes.strip, lines[-LINES_MAX:])][-LINES_MAX:]

    def last_lines(self) -> list[bytes]:
        """What its step has printed last."""
        return [*self.lines, *([self._rest] if self._rest.strip() else [])][-LINES_MAX:]


class Progress(Output):
    """Writes what containers print, and keeps a region with the state of the app below it."""

    def __init__(self, title: str) -> None:
        self.title = title
        #: What the command itself waits for, "" once the app runs.
        self.phase = "starting"
        #: function -> its latest status event
        self.statuses: dict[str, dict[str, Any]] = {}
        self.maps: dict[int, MapProgress] = {}
        #: id of an image -> how far it is
        self.builds: dict[str, BuildProgress] = {}
        self._channel: Channel | None = None
        self._terminal: TextIO = sys.stderr
        self._lock = RLock()
        self._lines_drawn = 0
        self._drawn_at = 0.0
        self._at_line_start = True
        self._picture: list[str] = []
        self._view: View | None = None
        self._stopped = False
        self._stopping = allocate_lock()
        self._stopping.acquire()
        self._stdout, self._stderr = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (
            Above(self, stream) if stream.isatty() else stream
            for stream in (self._stdout, self._stderr)
        )
        start_new_thread(self._run, ())

    # -- what happens

    def app_runs(self) -> None:
        """The app is open: from now on calls are what is waited for."""
        self._channel = current.channel()
        self.phase = ""

    def on_event(self, event: dict[str, Any]) -> None:
        if event["op"] == "status":
            self.statuses[event["function"]] = event
        else:
            super().on_event(event)

    def on_images(self, count: int) -> None:
        self.phase = "preparing its image" if count == 1 else f"preparing {count} images"

    def on_build(self, event: dict[str, Any]) -> None:
        image = event["image_id"]
        shown = self.builds.get(image)
        if shown is None:
            shown = self.builds[image] = BuildProgress()
        shown.take(event)

    def on_map(self, call: int, name: str, done: int, total: int | None) -> None:
        shown = self.maps.get(call)
        if shown is None:
            shown = self.maps[call] = MapProgress(name)
        shown.done, shown.total = done, total

    def on_map_end(self, call: int) -> None:
        shown = self.maps.get(call)
        if shown is not None:
            shown.ended = monotonic()

    def is_waiting(self) -> bool:
        """True while there is something to wait for, and so something to show."""
        if self._channel is None:
            return bool(self.phase)
        return not self._channel.closed and self._channel.waiting_count > 0

    # -- writing

    def write(self, stream: str, data: bytes) -> None:
        target = self._stdout if stream == "stdout" else self._stderr
        if not target.isatty():
            super().write(stream, data)
            return
        with self._lock:
            self._erase()
            super().write(stream, data)
            self._at_line_start = data.endswith((b"\n", b"\r"))
            self._draw_again()

    def write_text(self, stream: TextIO, text: str) -> int:
        """Write what the program itself prints on the terminal."""
        with self._lock:
            self._erase()
            written = stream.write(text)
            if text:
                self._at_line_start = text.endswith(("\n", "\r"))
            if self._at_line_start and self._picture:
                stream.flush()
            self._draw_again()
        return written

    def hold(self) -> None:
        self._lock.acquire()
        self._erase()
        super().hold()

    def release(self) -> None:
        self._lock.release()

    # -- the region

    def _run(self) -> None:
        if self._stopping.acquire(True, DELAY_S):
            return
        from volant.cli.progress_view import View

        view = View(self, self._terminal)
        while not self._stopped:
            picture = view.lines() if self.is_waiting() else []
            with self._lock:
                if self._stopped:
                    return
                self._view = view  # from now on there is something to take away
                if self._at_line_start:
                    self._close(view)
                self._picture = picture
                self._draw()
            if self._stopping.acquire(True, PERIOD_S):
                return

    def _close(self, view: View) -> None:
        """Leave a line for what has ended, below a line that is not finished."""
        for line in [*view.finished_builds(), *view.finished_maps()]:
            self.write_text(self._terminal, ("" if self._at_line_start else "\n") + line + "\n")

    def _erase(self, then: str = "") -> None:
        """Take the picture away, and write something in its place at once: nothing flickers."""
        if self._lines_drawn:
            up = f"\x1b[{self._lines_drawn - 1}A" if self._lines_drawn > 1 else ""
            then = f"\r{up}\x1b[J{then}"
            self._lines_drawn = 0
        if then:
            self._terminal.write(then)
            self._terminal.flush()

    def _draw(self) -> None:
        if self._picture and self._at_line_start and not self._stopped:
            self._erase("\n".join(self._picture))
            self._lines_drawn = len(self._picture)
            self._drawn_at = monotonic()
        else:
            self._erase()

    def _draw_again(self) -> None:
        """Put the picture back after a write, unless the next tick will do or nothing is open."""
        if self._picture and monotonic() - self._drawn_at > REDRAW_S and self.is_waiting():
            self._draw()

    def stop(self) -> None:
        """Take the region away for good. Does not wait for the drawing thread."""
        with self._lock:
            if self._stopped:
                return
            self._erase()
            if self._view is not None:
                self._picture, self.phase = [], ""
                self._close(self._view)
            self._stopped = True
        self._stopping.release()
        if isinstance(sys.stdout, Above):
            sys.stdout = self._stdout
        if isinstance(sys.stderr, Above):
            sys.stderr = self._stderr


class Above:
    """Stands in for a terminal's text file: what is written to it lands above the region."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._progress = progress
        self._stream = stream

    def write(self, text: str) -> int:
        """Write above the region."""
        return self._progress.write_text(self._stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write all lines above the region."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
