"""Which channel a process uses: a client's to its daemon, a container's own to the hub."""

from __future__ import annotations

import _socket
import os
from _thread import allocate_lock

from volant import _context, config
from volant.channel.channel import Channel
from volant.channel.opening import open_channel
from volant.errors import ConnectionError, PermissionDeniedError

_lock = allocate_lock()
_channel: Channel | None = None


def channel() -> Channel:
    """The channel of this process, opened on first use and again after a fork.

    Raises:
        ConnectionError: when no daemon can be reached or started, or where there is none for user
            code: what it wants is left to containers, or a build of an image.
        PermissionDeniedError: in a container that may ask nothing.
    """
    global _channel
    with _lock:
        if _channel is None or _channel.closed:
            _channel = _open()
        return _channel


def _open() -> Channel:
    if _context.is_restricted:
        raise PermissionDeniedError(
            "this container can ask nothing of the daemon",
            hint="its function was made with restrict_modal_access=True",
        )
    if _context.sdk_fd is None and _context.in_container():
        _context.sdk_fd_was_missed = True
        raise ConnectionError(
            "there is no connection to Volant while an image is built or containers are prepared",
            hint="ask for it in a function, or in a hook of enter()",
        )
    if _context.sdk_fd is None:
        settings = config.load()
        return open_channel(settings.home, settings.text("environment"))
    opened = Channel(_socket.socket(fileno=os.dup(_context.sdk_fd)), None)
    opened.greet()
    return opened


def _after_fork() -> None:
    global _channel, _lock
    _lock = allocate_lock()
    if _channel is not None:
        _channel.abandon()
        _channel = None


os.register_at_fork(after_in_child=_after_fork)


def forget() -> None:
    """Close the channel of this process; the next use opens another."""
    global _channel
    with _lock:
        if _channel is not None:
            _channel.close()
            _channel = None
