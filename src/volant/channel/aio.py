"""Waiting on a channel from asyncio, without a thread.

The running event loop watches the channel's descriptor; whoever reads a frame, this loop or a
thread that leads, completes the future of the waiter it belongs to.
"""

from __future__ import annotations

import asyncio
import os
from _thread import get_ident
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.channel.channel import Channel
    from volant.channel.waiter import Waiter


#: Coroutines that make one call after the other leave the core for a moment about so often.
GIVE_WAY_EVERY_S = 0.0003


class _Watch:
    """How many coroutines of one loop wait on one channel, and the descriptor watched for them."""

    __slots__ = ("channel", "connection", "count", "fd", "gave_way_at", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self.loop = loop
        self.channel = channel
        self.count = 0
        self.connection = 0
        self.fd = -1
        self.gave_way_at = monotonic()

    def enter(self) -> None:
        self.count += 1
        self.follow()
        self._give_way()

    def leave(self) -> None:
        self.count -= 1
        if self.count == 0:
            self._stop()

    def _give_way(self) -> None:
        """Let run whom we keep from running.

        Many calls in a row take milliseconds, in which the hub may wait for the very core that
        sent it the first of them. One call needs none of this: its loop sleeps next.
        """
        if monotonic() - self.gave_way_at > GIVE_WAY_EVERY_S and hasattr(os, "sched_yield"):
            os.sched_yield()
            self.gave_way_at = monotonic()

    def follow(self) -> None:
        """Watch the channel's present descriptor."""
        channel = self.channel
        if self.connection == channel.connection and not channel.closed:
            return
        self._stop()
        connection, fd = channel.connection, channel.fileno()
        if fd >= 0:  # else another thread looks for the hub, and notifies when it is there
            self.connection, self.fd = connection, fd
            self.loop.add_reader(fd, self._on_readable)

    def _stop(self) -> None:
        if self.fd >= 0:
            self.loop.remove_reader(self.fd)
        self.fd, self.connection = -1, 0

    def _on_readable(self) -> None:
        self.channel.pump()
        self.follow()  # a reconnect has replaced it


_watches: dict[tuple[int, int], _Watch] = {}


async def wait(channel: Channel, waiter: Waiter, timeout_s: float | None = None) -> None:
    """Return when `waiter.ready`.

    Raises:
        TimeoutError: after `timeout_s` (the one of `volant.errors`, a builtin TimeoutError).
        BaseException: the waiter's error.
    """
    loop = asyncio.get_running_loop()
    watch = _watches.setdefault((id(loop), id(channel)), _Watch(loop, channel))
    watch.enter()
    try:
        if not waiter.ready:
            if timeout_s is None:
                await _fed(watch, waiter)
            else:
                await asyncio.wait_for(_fed(watch, waiter), timeout_s)
    except asyncio.TimeoutError:
        from volant.errors import TimeoutError

        raise TimeoutError("no answer within the given time") from None
    finally:
        waiter.notify = None
        watch.leave()
        if watch.count == 0:
            _watches.pop((id(loop), id(channel)), None)
    if waiter.error is not None:
        raise waiter.error


async def _fed(watch: _Watch, waiter: Waiter) -> None:
    loop, thread = watch.loop, get_ident()
    while not waiter.ready:
        future: asyncio.Future[None] = loop.create_future()

        def complete(future: asyncio.Future[None] = future) -> None:
            if not future.done():
                future.set_result(None)

        def notify() -> None:
            if get_ident() == thread:
                complete()
            else:
                loop.call_soon_threadsafe(complete)

        waiter.notify = notify
        if waiter.ready:  # fed between the look and the registration
            return
        watch.follow()
        await future
