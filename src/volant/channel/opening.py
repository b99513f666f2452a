"""Opens a channel: finds the daemon, starts it, or replaces one of another version."""

from __future__ import annotations

import builtins
import os

from volant.channel import daemon
from volant.channel.channel import Channel
from volant.channel.daemon import DaemonLostError
from volant.errors import ConnectionError, Error, VersionError
from volant.version import VERSION
from volant.wire import frames, values
from volant.wire.stream import FrameStream

#: A daemon of another version is given this long to stop.
STOP_TIMEOUT_S = 60.0
#: Daemons that end while they greet us, one after the other, before that is an error.
DAEMONS_LOST_MAX = 3


def open_channel(home: str, environment: str = "main") -> Channel:
    """Connect to the daemon of `home`, starting or replacing it when needed.

    One that dies in the middle of the greeting is followed by the next: a socket can be connected
    to for a moment after its daemon was killed.

    Raises:
        ConnectionError: when it cannot be started, or one after the other ends at once.
    """
    lost: DaemonLostError
    for _ in range(DAEMONS_LOST_MAX):
        try:
            return _open_of_our_version(home, environment)
        except DaemonLostError as error:
            lost = error
    raise ConnectionError(lost.message, hint=lost.hint) from lost


def _open_of_our_version(home: str, environment: str) -> Channel:
    try:
        return _open(home, environment)
    except VersionError:
        _replace_daemon(home)
        return _open(home, environment)


def _open(home: str, environment: str) -> Channel:
    channel = Channel(daemon.connect_or_start(home), home, environment)
    try:
        channel.greet()
    except Error:
        channel.close()
        raise
    except OSError as error:
        channel.close()
        raise DaemonLostError(
            f"the daemon in {home} broke off the connection: {error.strerror}",
            hint=f"its log: {os.path.join(home, daemon.LOG_NAME)}",
        ) from error
    return channel


def _replace_daemon(home: str) -> None:
    """Ask a daemon of another version to stop, and wait until it has.

    Raises:
        ConnectionError: when it does not.
    """
    sock = daemon.connect(home)
    if sock is None:
        return
    sock.settimeout(STOP_TIMEOUT_S)
    stream = FrameStream(sock)
    stop = {"id": 1, "op": "server_stop", "reason": f"replaced by version {VERSION}"}
    try:
        stream.send(frames.control(frames.REQUEST, values.encode(stop)))
        while stream.receive() is not None:
            pass  # its end of the connection closes when it is gone
    except builtins.ConnectionError:
        pass  # it was about to go anyway
    except OSError as error:
        raise ConnectionError(
            f"the daemon in {home} is of another version and does not stop",
            hint="end it with `volant server stop`, or kill it",
        ) from error
    finally:
        stream.close()
