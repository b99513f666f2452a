"""Clients that speak TLS, and agree with the gateway on the version of HTTP."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.gateway.stage import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.gateway.stage import Stage

#: A key and a certificate for `localhost` that nobody else believes in.
PEM = str(Path(__file__).with_name("localhost.pem"))


@pytest.mark.parametrize("http2", [True, False])
def test_a_client_gets_the_newest_version_that_it_speaks(
    make_stage: Callable[..., Stage], http2: bool
) -> None:
    stage = make_stage(tls={"cert": PEM, "key": PEM})

    def serve() -> None:
        for _ in range(2):
            server = stage.server.accept() if not stage.server.ends else stage.server.ends[0]
            assert b"X-Forwarded-Proto: https\r\n" in server.head()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    serving = threading.Thread(target=serve)
    serving.start()
    verify = ssl.create_default_context(cafile=PEM)
    with httpx.Client(http2=http2, verify=verify, timeout=PATIENCE_S) as client:
        for _ in range(2):
            answer = client.get(f"https://127.0.0.1:{stage.port}/app-f/")
            assert (answer.status_code, answer.text) == (200, "ok")
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    serving.join()
