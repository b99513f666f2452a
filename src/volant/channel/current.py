"""Which channel a process uses: a client's to its daemon, a container's own to the hub."""

from __future__ import annotations

import _socket
import os
from _thread import allocate_lock

from volant import _context, config
from volant.channel.channel import Channel, open_channel

_lock = allocate_lock()
_channel: Channel | None = None
_owner_pid = 0


def channel() -> Channel:
    """The channel of this process, opened on first use and again after a fork.

    Raises:
        ConnectionError: when no daemon can be reached or started.
    """
    global _channel, _owner_pid
    with _lock:
        if _channel is None or _channel.closed or _owner_pid != os.getpid():
            _channel = _open()
            _owner_pid = os.getpid()
        return _channel


def _open() -> Channel:
    if _context.sdk_fd is None:
        return open_channel(config.load().home)
    opened = Channel(_socket.socket(fileno=os.dup(_context.sdk_fd)), None)
    opened.greet()
    return opened


def forget() -> None:
    """Close the channel of this process; the next use opens another."""
    global _channel
    with _lock:
        if _channel is not None:
            _channel.close()
            _channel = None
