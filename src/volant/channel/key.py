"""The key of a daemon: who can read it may use that daemon's socket.

    daemon, at its start ──► home/daemon.key (0600)        client ──► EVENT "key", its first frame

The socket's mode keeps other users out. The key keeps out code of the same user that may not
read the home directory: functions on the rung `process`, whose Landlock rules hide files and do
not keep from connecting. Every daemon makes a key of its own.
"""

from __future__ import annotations

import os

from volant.wire import frames, values

#: Name of the file in the daemon's home.
KEY_NAME = "daemon.key"
_KEY_BYTES = 32


def make_key(home: str) -> bytes:
    """Write a fresh key into a home, in place of the last daemon's."""
    key = os.urandom(_KEY_BYTES)
    path = os.path.join(home, KEY_NAME)
    fresh = f"{path}.new"
    fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    return key


def key_frame(home: str) -> bytes:
    """The first frame of a client; with an empty key, which is refused, if it cannot be read."""
    try:
        fd = os.open(os.path.join(home, KEY_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        key = b""
    else:
        key = os.read(fd, _KEY_BYTES)
        os.close(fd)
    return frames.control(frames.EVENT, values.encode({"op": "key", "key": key}))
