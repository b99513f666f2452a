"""TLS at the end of a relay that clients see; what it says further on is as it was."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress


def context_of(files: dict[str, str]) -> ssl.SSLContext:
    """What all connections of a relay have in common.

    Args:
        files: paths, `cert` of the certificate with its chain and `key` of its private key.

    Raises:
        OSError: when they cannot be read, or do not fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # else a write could have to wait for a read
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # as some releases of Python have it
    context.load_cert_chain(files["cert"], files["key"])
    return context


class Encrypted:
    """A client's connection, of which a relay sees what is inside; as a socket, as far as it goes.

    OpenSSL takes one record from the kernel at a time, and `recv` all of that: what is still to
    be read makes the descriptor readable.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """`sock`: which does not block, and is this one's from now on."""
        self.family = sock.family
        self._sock = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )

    def greet(self) -> int:
        """Go on with the handshake; what to wait for until it goes on, 0 when it is done.

        Raises:
            OSError: for a client that speaks something else, or none of what is spoken here.
        """
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        return 0

    def recv(self, size: int) -> bytes:
        """As of a socket; an end that the client has not announced is an error."""
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes) -> int:
        """As of a socket; what could not be sent is to be sent again as it was."""
        try:
            return self._sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """Announce that nothing follows; what comes is still read."""
        with suppress(ssl.SSLError):  # it wants the client's announcement, which may come later
            self._sock.unwrap()
        socket.socket.shutdown(self._sock, how)

    def fileno(self) -> int:
        """As of a socket."""
        return self._sock.fileno()

    def close(self) -> None:
        """As of a socket."""
        self._sock.close()
