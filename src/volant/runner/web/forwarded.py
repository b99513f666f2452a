"""What the gateway tells an ASGI app of a request, beside the request.

    X-Forwarded-For: client   X-Forwarded-Proto: scheme   X-Forwarded-Prefix: root_path

Only the gateway can connect to a container's socket, and it takes these headers from whoever sends
a request, so they are trusted.
"""

from __future__ import annotations

from volant.runner.web import trailers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from volant.runner.web.lifespan import App

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def completed(app: App) -> App:
    """The same app, whose scopes say what the gateway knows."""

    def serve(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] in ("http", "websocket"):
            _complete(scope)
            if trailers.is_offered(scope):
                return trailers.serve(app, scope, receive, send)
        return app(scope, receive, send)

    return serve


def _complete(scope: dict[str, Any]) -> None:
    told = {name: value for name, value in scope["headers"] if name in _HEADERS}
    for name, note in _HEADERS.items():
        if name in told:
            note(scope, told[name].decode("latin-1"))
    scheme = str(scope["scheme"])
    # A unix socket has none, and frameworks make addresses of it.
    scope["server"] = _server(told.get(b"host", b"localhost").decode("latin-1"), scheme)


def _note_client(scope: dict[str, Any], value: str) -> None:
    scope["client"] = (value.partition(",")[0].strip(), 0)


def _note_scheme(scope: dict[str, Any], value: str) -> None:
    if value == "https":
        scope["scheme"] = "https" if scope["type"] == "http" else "wss"


def _note_prefix(scope: dict[str, Any], value: str) -> None:
    prefix = value.rstrip("/")
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"]
    if scope.get("raw_path") is not None:
        scope["raw_path"] = prefix.encode("latin-1") + scope["raw_path"]


def _note_trailers(scope: dict[str, Any], value: str) -> None:
    if scope["type"] == "http" and "trailers" in value.lower():
        trailers.offer(scope)


def _server(host: str, scheme: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        return name, int(port)
    return host, _PORTS[scheme]


#: Headers that say more of a request; of `host` the server is made.
_HEADERS: dict[bytes, Callable[[dict[str, Any], str], None]] = {
    b"x-forwarded-proto": _note_scheme, b"x-forwarded-for": _note_client,
    b"x-forwarded-prefix": _note_prefix, b"host": lambda scope, value: None,
    b"te": _note_trailers,
}  # fmt: skip
