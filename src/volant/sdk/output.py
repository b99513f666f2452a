"""Where logs and progress of running apps go: nowhere, unless output is enabled.

Libraries stay silent. `volant run` and `enable_output()` install an `Output`; events reach it
from whichever thread reads the channel, and a small thread reads when nobody else does, so that
a log line is shown even while the program computes or sleeps.
"""

from __future__ import annotations

import os
import select
import sys
from _thread import allocate_lock, start_new_thread

from volant.channel.channel import show_notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from volant.channel.channel import Channel
    from volant.sdk.images.built.lines import BuildLines


class Output:
    """Writes container output to this process's own; `volant run` has a richer one."""

    #: Whether it says how far images are that are built.
    tells_builds = True
    #: Whether it shows all that steps of images print; None: as the settings say.
    is_verbose: bool | None = None
    #: Makes what is shown of what a program prints; None: as it is.
    stamped: Callable[[dict[str, Any]], bytes] | None = None
    _builds: BuildLines | None = None

    def on_event(self, event: dict[str, Any]) -> None:
        """Take one event of the hub."""
        op = event["op"]
        if op == "log":
            data = event["data"] if self.stamped is None else self.stamped(event)
            self.write(event["stream"], data)
        elif op == "build":
            self.on_build(event)
        else:
            show_notice(event)

    def write(self, stream: str, data: bytes) -> None:
        """Write what a container printed to `stdout` or `stderr`, or the daemon says (`system`)."""
        target = sys.stdout if stream == "stdout" else sys.stderr
        target.flush()
        binary = getattr(target, "buffer", None)
        if binary is not None:
            binary.write(data)
            binary.flush()
        else:  # replaced by something that takes text, as in a notebook
            target.write(data.decode("utf-8", "replace"))

    def hold(self) -> None:
        """Write nothing until `release`, from the same thread: a container has the terminal."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

    def release(self) -> None:
        """Go on writing."""

    def on_images(self, count: int) -> None:
        """Hear that the images of an app are waited for: built, as far as they are not here."""

    def on_build(self, event: dict[str, Any]) -> None:
        """Hear of an image of an app: a step of it begins, prints something, or all is done."""
        if event["state"] == "cached" or not self.tells_builds:
            return
        if self._builds is None:
            from volant.sdk.images.built.lines import BuildLines

            if self.is_verbose is None:
                self.is_verbose = _wants_all()
            self._builds = BuildLines(self.write, is_verbose=self.is_verbose)
        self._builds.take(event)

    def on_map(self, call: int, name: str, done: int, total: int | None) -> None:
        """Hear how far a map is.

        Args:
            call: number of the map, to tell several of one function apart.
            name: its function.
            done: inputs whose results are here.
            total: inputs in all, None while that is not known.
        """

    def on_map_end(self, call: int) -> None:
        """Hear that a map is over: finished, failed or given up."""


def _wants_all() -> bool:
    from volant import config
    from volant.errors import Error

    try:
        return bool(config.load().values["verbose"])
    except Error:
        return False  # settings that cannot be read are told of elsewhere


active: Output | None = None


class EnabledOutput:
    """What `enable_output()` returns: a context manager for `with` and `async with`."""

    def __enter__(self) -> EnabledOutput:
        global active
        self._before = active
        active = Output()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global active
        active = self._before

    async def __aenter__(self) -> EnabledOutput:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, value, traceback)


def enable_output() -> EnabledOutput:
    """Show what containers print while the block runs.

    Example:
        with volant.enable_output(), app.run():
            f.remote()
    """
    return EnabledOutput()


class LogPump:
    """Reads a channel while no other thread does.

    A bare thread: importing `threading` would cost more than all else that a short run does.
    """

    #: A program that is over sooner needs no pump.
    DELAY_S = 0.05
    #: How long a frame may lie unread by the thread that waits for it.
    PATIENCE_S = 0.01

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wake, self._wake_end = os.pipe()
        self._ended = allocate_lock()
        self._ended.acquire()
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            if self._stopped_within(self.DELAY_S):
                return
            while not self._channel.closed:
                poll = select.poll()
                poll.register(self._channel.fileno(), select.POLLIN)
                poll.register(self._wake, select.POLLIN)
                poll.poll()
                if self._stopped_within(self.PATIENCE_S):
                    return
                self._channel.pump()
        except (OSError, ValueError):
            return  # the channel was closed under our hands
        finally:
            self._ended.release()

    def _stopped_within(self, delay_s: float) -> bool:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        return bool(poll.poll(delay_s * 1000))

    def stop(self) -> None:
        """End the thread."""
        os.write(self._wake_end, b"x")
        self._ended.acquire()
        os.close(self._wake)
        os.close(self._wake_end)
