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
    from volant.channel.waiters import CallWaiter

#: Coroutines that make one call after the other send what is held, and leave the core for a
#: moment, about so often.
TOGETHER_S = 0.0001
#: A larger frame waits for no others.
TOGETHER_BYTES_MAX = 4096


class _Watch:
    """How many coroutines of one loop wait on one channel, and the descriptor watched for them."""

    __slots__ = ("channel", "connection", "count", "fd", "loop", "sent_at", "thread", "will_flush")

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self.loop = loop
        self.thread = get_ident()
        self.channel = channel
        self.count = 0
        self.connection = 0
        self.fd = -1
        self.sent_at = monotonic()
        self.will_flush = False

    def enter(self) -> None:
        self.count += 1

    def leave(self) -> None:
        self.count -= 1
        if self.count == 0:
            self._stop()
            _watches.pop((id(self.loop), id(self.channel)), None)

    def send(self, frame: bytes, fd: int | None) -> None:
        """Send the frame of a call, together with those of others that are made right now.

        What is held goes out with the next one that is not, at the latest when the loop has run
        all that was ready. A call alone is never held.
        """
        now = monotonic()
        is_one_of_many = self.count > 1 and now - self.sent_at < TOGETHER_S
        if is_one_of_many and fd is None and len(frame) <= TOGETHER_BYTES_MAX:
            self.channel.hold(frame)
            if not self.will_flush:
                self.will_flush = True
                self.loop.call_soon(self._flush)
            return
        self.channel.send(frame, fd)
        self.give_way(now)

    def _flush(self) -> None:
        self.will_flush = False
        self.channel.flush()
        self.give_way(monotonic())

    def give_way(self, now: float) -> None:
        """Let run whom we keep from running.

        Many calls in a row take milliseconds, in which the hub may wait for the very core that
        sent it the first of them. One call needs none of this: its loop sleeps next.
        """
        if now - self.sent_at > TOGETHER_S and hasattr(os, "sched_yield"):
            os.sched_yield()
            now = monotonic()
        self.sent_at = now

    def expect(self, waiter: Waiter) -> asyncio.Future[None]:
        """What is done when the waiter is fed, by this loop or by a thread that reads."""
        loop, thread = self.loop, self.thread
        future: asyncio.Future[None] = loop.create_future()

        def notify() -> None:
            if get_ident() == thread:
                _complete(future)
            else:
                loop.call_soon_threadsafe(_complete, future)

        waiter.notify = notify
        self._follow()
        return future

    def _follow(self) -> None:
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
        self._follow()  # a reconnect has replaced it


_watches: dict[tuple[int, int], _Watch] = {}


def _watch_of(channel: Channel) -> _Watch:
    loop = asyncio.get_running_loop()
    key = id(loop), id(channel)
    watch = _watches.get(key)
    if watch is None:
        watch = _watches[key] = _Watch(loop, channel)
    return watch


async def call(channel: Channel, waiter: CallWaiter) -> None:
    """Send the frame of a registered waiter, and return when `waiter.ready`.

    Raises:
        BaseException: the waiter's error.
    """
    watch = _watch_of(channel)
    watch.enter()
    try:
        watch.send(waiter.frame, waiter.fd)
        while not waiter.ready:
            future = watch.expect(waiter)
            if not waiter.ready:  # else fed between the look and the registration
                await future
    finally:
        waiter.notify = None
        watch.leave()
    if waiter.error is not None:
        raise waiter.error


async def wait(channel: Channel, waiter: Waiter, timeout_s: float | None = None) -> None:
    """Return when `waiter.ready`.

    Raises:
        TimeoutError: after `timeout_s` (the one of `volant.errors`, a builtin TimeoutError).
        BaseException: the waiter's error.
    """
    watch = _watch_of(channel)
    watch.enter()
    watch.give_way(monotonic())
    try:
        if not waiter.ready:
            await asyncio.wait_for(_fed(watch, waiter), timeout_s)
    except asyncio.TimeoutError:
        from volant.errors import TimeoutError

        raise TimeoutError("no answer within the given time") from None
    finally:
        waiter.notify = None
        watch.leave()
    if waiter.error is not None:
        raise waiter.error


async def _fed(watch: _Watch, waiter: Waiter) -> None:
    while not waiter.ready:
        future = watch.expect(waiter)
        if not waiter.ready:  # else fed between the look and the registration
            await future


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
