"""What the servers of the tests have in common: a thread on 127.0.0.1, for a block."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from typing import Self

#: Longer than this nobody waits, even on a busy machine.
WITHIN_S = 60.0


class Stall:
    """Where a server stops in the middle of an answer, until it is let go."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._go_on = threading.Event()

    def pass_through(self) -> None:
        """Called by the server."""
        self._reached.set()
        self._go_on.wait(WITHIN_S)

    def wait(self) -> None:
        """Until the server has come here."""
        assert self._reached.wait(WITHIN_S)

    def let_go(self) -> None:
        self._go_on.set()


class Served:
    """A server that runs while its block does."""

    def serve(self, handler: type[BaseHTTPRequestHandler]) -> str:
        """Take a port, from which nothing is answered before the block; its host and number."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
