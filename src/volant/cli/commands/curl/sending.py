"""One request over a connection of its own: what is sent and what comes are streams."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from volant.cli.failures import SERVICE, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

#: Bytes of one read of a body.
PIECE_BYTES = 64 << 10
#: How long a connection may take to be made. Answers may take as long as they want.
CONNECT_S = 30.0
#: Headers that a request has unless its user sets them.
_OWN = ("Host", "Accept", "User-Agent")


class _Connection(http.client.HTTPConnection):
    """A connection that also finds names below `localhost` where the machine does not."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(host, port)
        self._tls = tls

    def connect(self) -> None:
        host = "localhost" if self.host.endswith(".localhost") else self.host
        sock = socket.create_connection((host, self.port), CONNECT_S)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname=self.host)
        sock.settimeout(None)
        self.sock = sock


def _tls(url: str, *, insecure: bool) -> ssl.SSLContext | None:
    """What TLS is spoken with; None for an address without."""
    if urlsplit(url).scheme == "http":
        return None
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def send(
    url: str,
    method: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | BinaryIO | None,
    *,
    insecure: bool,
) -> http.client.HTTPResponse:
    """Send a request; returns the answer once its head is there.

    Args:
        url: an address of `http` or `https`.
        method: as it is written.
        headers: those of the user, which replace our own.
        body: bytes, or a file, which is sent in chunks.
        insecure: take whatever certificate the server has.

    Raises:
        Refused: when the address is none, or there is no answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"`{url}` is no address", hint="it begins with http:// or https://")
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    try:
        connection = _Connection(parts.hostname, parts.port, _tls(url, insecure=insecure))
        _put_head(connection, method, target, parts.netloc.rpartition("@")[2], headers, body)
        _put_body(connection, body)
        return connection.getresponse()
    except ValueError as error:  # http.client does not send what another reader might split
        raise Refused(f"the request cannot be sent: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"there is no answer from {url}: {error}", exit_code=SERVICE) from error


def _put_head(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    host: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | BinaryIO | None,
) -> None:
    from volant.version import VERSION

    given = {name.lower() for name, _ in headers}
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in zip(_OWN, (host, "*/*", f"volant/{VERSION}"), strict=True):
        if name.lower() not in given:
            connection.putheader(name, value)
    for name, value in headers:
        connection.putheader(name, value.encode("utf-8"))
    if isinstance(body, bytes):
        connection.putheader("Content-Length", str(len(body)))
    elif body is not None:
        connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()


def _put_body(connection: http.client.HTTPConnection, body: bytes | BinaryIO | None) -> None:
    """Send a body; one whose server answers before its end is sent no further."""
    try:
        if isinstance(body, bytes):
            connection.send(body)
        elif body is not None:
            for piece in _pieces(body):
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        return  # the answer says why


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    read = getattr(file, "read1", file.read)
    while piece := read(PIECE_BYTES):
        yield piece


def head_of(answer: http.client.HTTPResponse) -> bytes:
    """The head of an answer, as text of the protocol."""
    minor = answer.version - 10
    lines = [f"HTTP/1.{minor} {answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.getheaders()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def body_of(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The pieces of an answer's body, as they come.

    Raises:
        Refused: when it breaks off.
    """
    try:
        while piece := answer.read1(PIECE_BYTES):
            yield piece
        if answer.length:
            raise Refused(
                f"the answer broke off: {answer.length} bytes are missing", exit_code=SERVICE
            )
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"the answer broke off: {error}", exit_code=SERVICE) from error
