"""What an ASGI app is told of a request that came through the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from volant.runner.web.forwarded import completed


def seen(kind: str = "http", **headers: str) -> dict[str, Any]:
    """The scope that an app gets for a request with these headers."""
    found: list[dict[str, Any]] = []
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": kind, "scheme": {"http": "http", "websocket": "ws"}.get(kind), "path": "/a b",
        "raw_path": b"/a%20b", "root_path": "", "headers": named, "client": None,
        "server": ("/run/web.sock", None),
    }  # fmt: skip

    def note(scope: Any, receive: Any, send: Any) -> Any:
        found.append(scope)

    app: Any = completed(note)
    app(scope, None, None)
    return found[0]


def test_the_client_is_the_first_that_was_noted() -> None:
    assert seen(x_forwarded_for="192.0.2.7, 198.51.100.1")["client"] == ("192.0.2.7", 0)
    assert seen()["client"] is None


def test_the_scheme_is_that_of_the_client() -> None:
    assert seen(x_forwarded_proto="https")["scheme"] == "https"
    assert seen("websocket", x_forwarded_proto="https")["scheme"] == "wss"
    assert seen(x_forwarded_proto="gopher")["scheme"] == "http"


def test_a_prefix_is_part_of_the_path() -> None:
    scope = seen(x_forwarded_prefix="/app/")
    assert (scope["root_path"], scope["path"]) == ("/app", "/app/a b")
    assert scope["raw_path"] == b"/app/a%20b"


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("example.com", ("example.com", 80)),
        ("example.com:8443", ("example.com", 8443)),
        ("[::1]:80", ("[::1]", 80)),
    ],
)
def test_the_server_is_what_the_client_asked_for(host: str, server: tuple[str, int]) -> None:
    assert seen(host=host)["server"] == server
    assert seen()["server"] == ("localhost", 80)


def test_a_lifespan_has_none_of_it() -> None:
    assert seen("lifespan", host="example.com")["server"] == ("/run/web.sock", None)
