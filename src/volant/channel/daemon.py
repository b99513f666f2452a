"""Finds the daemon of a home directory, and starts it when there is none.

    connect ──ok──► stream
       └─ nobody there: lock ─► start `python -m volantd` ─► wait for its one ready byte ─► connect

The lock makes sure that of many commands started at once exactly one starts the daemon.
Waiting is on the ready pipe: its end without a byte means that the daemon failed to start,
and the tail of its log goes into the error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from _socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket

from volant.channel.key import key_frame
from volant.errors import ConnectionError

#: Name of the daemon's socket in its home directory.
SOCKET_NAME = "daemon.sock"
LOG_NAME = "daemon.log"
#: What the log was before it became too long.
OLDER_LOG_NAME = LOG_NAME + ".1"
_LOCK_NAME = "start.lock"
_LOG_TAIL_BYTES = 2000
_NOBODY_THERE = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EAGAIN)


class DaemonLostError(ConnectionError):
    """A daemon has ended while we spoke to it: killed or stopped, so the next one may be there."""


def connect(home: str) -> socket | None:
    """Connect to the daemon of `home` and show its key, or return None when none runs.

    Raises:
        ConnectionError: when the socket is there and may not be used.
    """
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        directory = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise _unusable(home, error) from error
    try:
        # By way of /proc the path stays short: a socket's address holds 107 bytes.
        sock.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
    except OSError as error:
        sock.close()
        if error.errno in _NOBODY_THERE:
            return None
        raise ConnectionError(
            f"cannot connect to the daemon in {home}: {error.strerror}",
            hint="is VOLANT_HOME yours? set it to a directory that you own",
        ) from error
    finally:
        os.close(directory)
    credentials = sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    owner = int.from_bytes(credentials[4:8], sys.byteorder)
    if owner != os.geteuid():  # what it sends is unpickled here
        sock.close()
        raise _belongs_to_another("the daemon in " + home, owner)
    try:
        sock.sendall(key_frame(home))
    except OSError:
        pass  # it is about to end; whoever reads finds out
    return sock


def _belongs_to_another(what: str, owner: int) -> ConnectionError:
    return ConnectionError(
        f"{what} belongs to another user (uid {owner})",
        hint="set VOLANT_HOME to a directory that you own",
    )


def _unusable(home: str, error: OSError) -> ConnectionError:
    return ConnectionError(
        f"cannot use {home}: {error.strerror}", hint="set VOLANT_HOME to a directory that you own"
    )


def connect_or_start(home: str) -> socket:
    """Connect to the daemon of `home`, starting it first when none runs.

    Raises:
        DaemonLostError: when it was killed while it started, or right after that.
        ConnectionError: when it cannot be started; the message ends with its log.
    """
    sock = connect(home)
    if sock is not None:
        return sock
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        owner = os.stat(home).st_uid
        if owner != os.geteuid():
            raise _belongs_to_another(home, owner)
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        lock = os.open(os.path.join(home, _LOCK_NAME), flags, 0o600)
    except ConnectionError:
        raise
    except OSError as error:
        raise _unusable(home, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sock = connect(home)  # somebody else may have started it while we waited
        if sock is None:
            start(home)
            sock = connect(home)
    finally:
        os.close(lock)
    if sock is None:
        raise DaemonLostError(
            f"the daemon in {home} ended right after it started",
            hint=f"its log: {os.path.join(home, LOG_NAME)}{_log_tail(home)}",
        )
    return sock


def start(home: str) -> None:
    """Start a daemon that outlives this process, and wait until it listens.

    Raises:
        DaemonLostError: when it is killed before it listens.
        ConnectionError: when it ends before it listens.
    """
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        log = os.open(os.path.join(home, LOG_NAME), flags, 0o600)
    except OSError as error:
        raise _unusable(home, error) from error
    ready, ready_end = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.set_inheritable(ready_end, True)
    environ = {key: value for key, value in os.environ.items() if key != "VOLANT_HOME"}
    environ["VOLANT_HOME"] = home
    # -P: whatever lies in the working directory must not pass for a module of ours.
    argv = [sys.executable, "-P", "-m", "volantd", "--ready-fd", str(ready_end)]
    try:
        pid = os.posix_spawn(
            sys.executable, argv, environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
        )  # fmt: skip
        os.close(ready_end)
        ready_end = -1
        if os.read(ready, 1) != b"1":
            kind = DaemonLostError if _was_killed(pid) else ConnectionError
            raise kind(
                f"the daemon could not start in {home}",
                hint=f"its log: {os.path.join(home, LOG_NAME)}{_log_tail(home)}",
            )
    finally:
        for fd in (ready, ready_end, log, null):
            if fd >= 0:
                os.close(fd)


def _was_killed(pid: int) -> bool:
    """Whether a daemon that has closed its end of the ready pipe was ended by a signal."""
    try:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return False  # the program has its children reaped by somebody else


def _log_tail(home: str) -> str:
    try:
        with open(os.path.join(home, LOG_NAME), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
            return "\n" + file.read().decode("utf-8", "replace")
    except OSError:
        return ""
