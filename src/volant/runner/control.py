"""Messages between the agent and a zygote, over one unix stream socket.

    agent  -> zygote   PRELOAD {modules, late, web, env}
                       PREPARE {files, entry, env, snapshot, late}
                       FORK {id, hostname, limits, address, more, beside} + 4 descriptors; the last
                         of a sidecar: {container, first, count, cwd}, see `isolate.Plan.beside`
                       COMMAND {id, container, argv, env, limits, terminal} + 1, 2 or 4 descriptors
                       SHOW {layers, cwd}
    agent  -> holder   RUN {argv, env, cwd, makes_cwd, terminal} + 1, 2 or 4 descriptors
                       FILES {} + 1 descriptor
                       BOOT {memory_bytes}: only to one of gVisor, and ahead of all others
    zygote -> agent    PRELOADED {culprits}
                       READY {import_us, threads, asks, culprits, late, refused, prelude, is_whole}
                       PREPARE_FAILED {fault}  UNFIT {}
                       FORKED {id}  FORK_FAILED {id, reason}  EXITED {id, status}
                       COMMAND_FAILED {id, reason}

Owns the framing and nothing else. A frame is 8 bytes (length, kind, descriptor count, 0, 0)
and a map of `wire.values`. The zygote has imported user code, so what it sends is hostile: the
agent feeds a `Parser`, which never buffers more than a limit and answers everything
malformed with `ControlError`. Descriptors only ever travel from the agent to the zygote.
"""

from __future__ import annotations

import _socket
from _struct import Struct, unpack

from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREPARE, FORK, COMMAND, PRELOAD, RUN, FILES, SHOW, BOOT = 1, 2, 3, 4, 5, 6, 7, 8
READY, PREPARE_FAILED, FORKED, FORK_FAILED, EXITED, COMMAND_FAILED = 16, 17, 18, 19, 20, 21
PRELOADED, UNFIT = 22, 23

_HEADER = Struct("<IBBxx")
HEADER_BYTES = _HEADER.size
#: Largest frame that the agent takes from a zygote, by kind; any other kind is refused.
REPLY_BYTES_MAX = {
    READY: 1 << 20, PREPARE_FAILED: 4 << 20, FORKED: 4096, FORK_FAILED: 1 << 16, EXITED: 4096,
    COMMAND_FAILED: 1 << 16, PRELOADED: 1 << 16, UNFIT: 16,
}  # fmt: skip
#: Largest frame that the agent sends (sources of one app version).
REQUEST_BYTES_MAX = 1 << 30
#: Descriptors of one FORK: channel, SDK channel, stdout, stderr. A COMMAND has no more: its
#: channel, and its stdin, stdout and stderr, or the terminal that is all three, or none yet. The
#: same holds for a RUN, which goes to the holder of a sandbox over the channel of that.
FORK_FDS = 4
_FD_BYTES = 4


class ControlError(Exception):
    """The other side sent what this protocol does not have."""


def pack(kind: int, fields: dict[str, Any], fd_count: int = 0) -> bytes:
    """One frame as bytes; its descriptors go with its first byte."""
    body = values.encode(fields)
    if len(body) > REQUEST_BYTES_MAX:
        raise ControlError(f"message of {len(body)} bytes, at most {REQUEST_BYTES_MAX} can be sent")
    return _HEADER.pack(len(body), kind, fd_count) + body


class Parser:
    """Frames out of a byte stream from a zygote, which may send anything.

    Example:
        >>> parser = Parser()
        >>> parser.feed(pack(FORKED, {"id": "c1"})[:9])
        []
        >>> parser.feed(pack(FORKED, {"id": "c1"})[9:])
        [(18, {'id': 'c1'})]
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, dict[str, Any]]]:
        """Take bytes, give back the frames that are whole now.

        Raises:
            ControlError: for an unknown kind, a frame above its limit or a malformed body;
                the connection is then of no further use.
        """
        pending = self._pending
        pending += data
        found: list[tuple[int, dict[str, Any]]] = []
        start = 0
        while len(pending) - start >= HEADER_BYTES:
            size, kind, fd_count = _HEADER.unpack_from(pending, start)
            limit = REPLY_BYTES_MAX.get(kind)
            if limit is None or size > limit or fd_count:
                raise ControlError(f"frame of kind {kind}, {size} bytes, {fd_count} descriptors")
            end = start + HEADER_BYTES + size
            if len(pending) < end:
                break
            found.append((kind, _decode(bytes(pending[start + HEADER_BYTES : end]))))
            start = end
        del pending[:start]
        return found


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return values.decode_map(body)
    except ValueError as error:
        raise ControlError(f"malformed body of {len(body)} bytes: {error}") from error


class Connection:
    """The zygote's end: blocking, one frame at a time, takes descriptors."""

    def __init__(self, fd: int) -> None:
        self._socket = _socket.socket(fileno=fd)
        self._socket.setblocking(True)

    def fileno(self) -> int:
        """The descriptor, to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, kind: int, fields: dict[str, Any]) -> None:
        """Send one frame; blocks until the agent has room."""
        self._socket.sendall(pack(kind, fields))

    def receive(self) -> tuple[int, dict[str, Any], list[int]] | None:
        """The next frame with its descriptors (close on exec); None when the agent is gone.

        Raises:
            ControlError: when the agent's end does not keep to the protocol.
        """
        head, fds = self._head()
        if not head:
            return None
        size, kind, fd_count = _HEADER.unpack(head)
        body = self._exactly(size)
        if len(fds) != fd_count:
            raise ControlError(f"frame of kind {kind}: {len(fds)} of {fd_count} descriptors came")
        return kind, _decode(body), fds

    def _head(self) -> tuple[bytes, list[int]]:
        # The descriptors come with the first byte, so one receive takes them all.
        space = _socket.CMSG_SPACE(FORK_FDS * _FD_BYTES)
        data, ancillary, _, _ = self._socket.recvmsg(
            HEADER_BYTES, space, getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
        )
        fds: list[int] = []
        for level, kind, raw in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fds += unpack(f"{len(raw) // _FD_BYTES}i", raw[: len(raw) // _FD_BYTES * _FD_BYTES])
        if data and len(data) < HEADER_BYTES:
            data += self._exactly(HEADER_BYTES - len(data))
        return data, fds

    def _exactly(self, size: int) -> bytes:
        if size > REQUEST_BYTES_MAX:
            raise ControlError(f"frame of {size} bytes")
        buffer = bytearray(size)
        view = memoryview(buffer)
        done = 0
        while done < size:
            count = self._socket.recv_into(view[done:])
            if not count:
                raise ControlError(f"connection ended {size - done} bytes before a frame did")
            done += count
        view.release()
        return bytes(buffer)


def say(channel_fd: int, text: bytes) -> None:
    """Say a first word on a channel that stays open."""
    channel = _socket.socket(fileno=channel_fd)
    try:
        channel.sendall(text)  # the kernel adds our pid, as the agent's end asks for it
    except OSError:
        pass  # the agent is gone, and with it the reason to exist
    finally:
        channel.detach()
