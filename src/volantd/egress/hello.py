"""For whom a TLS connection is, from the first bytes that its client sends.

Reads nothing but what it is given, keeps nothing, and takes every byte for hostile: a greeting that
is not well-formed has no name.
"""

from __future__ import annotations

from volantd.egress.policy import plain_name

#: The longest greeting that is looked at.
HELLO_BYTES_MAX = 16 << 10
_RECORD_HEADER_BYTES = 5
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RANDOM_BYTES = 32
_SERVER_NAME, _HOST_NAME = 0, 0


class NotTLSError(Exception):
    """These bytes begin no TLS connection, or one without a name that is well-formed."""


def server_name(data: bytes) -> str | None:
    """The name that a client greets, in plain form; None while the greeting goes on.

    Raises:
        NotTLSError: when there will be none.
    """
    message = _handshake(data)
    if message is None:
        return None
    reader = _Reader(message)
    reader.take(2 + _RANDOM_BYTES)
    for size in (1, 2, 1):  # session, ciphers, compressions
        reader.vector(size)
    extensions = _Reader(reader.vector(2))
    if not reader.is_empty:
        raise NotTLSError("more behind the extensions")
    found: list[str] = []
    while not extensions.is_empty:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind == _SERVER_NAME:
            found.append(_name(body))
    if len(found) != 1:
        raise NotTLSError("it greets nobody by name, or several")
    return found[0]


def _handshake(data: bytes) -> bytes | None:
    """The body of the greeting, out of its records; None while some is missing."""
    message = b""
    at = 0
    while True:
        header = data[at : at + _RECORD_HEADER_BYTES]
        if header[:1] not in (b"", bytes([_HANDSHAKE])) or header[1:2] not in (b"", b"\3"):
            raise NotTLSError("no record of a handshake")
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise NotTLSError("no greeting of a client")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size + 4 > HELLO_BYTES_MAX:
                raise NotTLSError("too long a greeting")
            if len(message) - 4 >= size:
                return message[4 : 4 + size]
        if len(header) < _RECORD_HEADER_BYTES:
            return None
        length = int.from_bytes(header[3:], "big")
        if not 1 <= length <= HELLO_BYTES_MAX:
            raise NotTLSError("no length of a record")
        message += data[at + _RECORD_HEADER_BYTES : at + _RECORD_HEADER_BYTES + length]
        at += _RECORD_HEADER_BYTES + length


def _name(body: bytes) -> str:
    names = _Reader(body)
    entries = _Reader(names.vector(2))
    kind, raw = entries.number(1), entries.vector(2)
    if kind != _HOST_NAME or not entries.is_empty or not names.is_empty:
        raise NotTLSError("a list of names that is none")
    try:
        name = plain_name(raw.decode("ascii"))
    except UnicodeDecodeError:
        name = None
    if name is None:
        raise NotTLSError("no name of a host")
    return name


class _Reader:
    """Takes pieces off the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise NotTLSError("a greeting that is cut off")
        self._at += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes behind their count, which has `size` bytes."""
        return self.take(self.number(size))
