"""Asks the daemon that runs, and never starts one: looking at a system must not change it."""

from __future__ import annotations

import builtins
import os
import select
from typing import TYPE_CHECKING, Any

from volant import config
from volant.channel import daemon
from volant.channel.channel import Channel
from volant.runner import linux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def open_channel(home: str | None = None) -> Channel | None:
    """A channel to the running daemon, or None when none runs.

    Raises:
        VersionError: when the daemon is of another version.
        ConnectionError: when its socket may not be used.
    """
    settings = config.load()
    sock = daemon.connect(home or settings.home)
    if sock is None:
        return None
    environment = settings.text("environment")
    channel = Channel(sock, None, environment)  # without a home, so that it never starts a daemon
    try:
        channel.greet()
    except builtins.ConnectionError:
        channel.close()
        return None  # it was about to end
    return channel


def ask(op: str, **fields: object) -> dict[str, Any] | None:
    """The reply to one request, or None when no daemon runs.

    Raises:
        Error: the one the hub answered with.
    """
    channel = open_channel()
    if channel is None:
        return None
    try:
        return channel.request(op, **fields)
    finally:
        channel.close()


def keep_events(channel: Channel) -> list[dict[str, Any]]:
    """A list that every event goes to from now on; to be called before what makes them come."""
    kept: list[dict[str, Any]] = []
    channel.on_event = kept.append
    return kept


def events(
    channel: Channel, waiting: list[dict[str, Any]], op: str, goes_on: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Yield events of a kind as they come, until the channel closes or `goes_on` says no.

    Args:
        waiting: where `keep_events` puts them.
        goes_on: asked once a second while nothing comes.
    """
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        while waiting:
            event = waiting.pop(0)
            if event["op"] == op:
                yield event
        if channel.closed:
            return
        if poll.poll(1000):
            channel.pump()
        elif not goes_on() and not waiting:
            return


def pid_of_daemon(home: str) -> int | None:
    """The process that listens on the socket of `home`, by what the kernel says."""
    import socket
    import struct

    sock = daemon.connect(home)
    if sock is None:
        return None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    sock.close()
    return int(struct.unpack("3i", credentials)[0])


def wait_until_gone(pid: int, within_s: float) -> bool:
    """Wait until a process has ended; False when it has not in time."""
    try:
        handle = linux.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(handle)
