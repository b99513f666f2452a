"""A registry on 127.0.0.1 that behaves as badly as it is told to."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.unit.images.making import Content
from tests.unit.images.serving import Served
from volantd.images.oci import RegistrySource, parse_reference
from volantd.images.oci.transport import Transport

if TYPE_CHECKING:
    from email.message import Message

    from tests.unit.images.serving import Stall


class Registry(Served, Content):
    """Serves its content under any repository; a context that ends the server."""

    def __init__(self) -> None:
        super().__init__()
        #: path and headers of each request, in order
        self.requests: list[tuple[str, Message]] = []
        #: "bearer" or "basic": what is asked for before anything is given
        self.asks_for = ""
        #: what a client must show, to the token's realm or here; nothing if anybody may read
        self.account: tuple[str, str] | None = None
        #: the tokens that are good; each is good for one repository
        self.tokens = [f"token-{number}" for number in range(8)]
        #: whether a token is good for one request only
        self.is_forgetful = False
        #: statuses that the next requests are answered with
        self.statuses: list[int] = []
        #: headers of those answers
        self.status_headers: dict[str, str] = {}
        #: bytes after which the next answers break off
        self.breaks: list[int] = []
        #: where the next answers with a blob stop when half of it is sent
        self.stalls: list[Stall] = []
        #: what a range is answered with: "right", "wrong" (another range), "never" (everything)
        self.ranges = "right"
        #: where blobs are found instead
        self.redirect = ""
        #: what a token is asked from; our own address by default
        self.realm = ""
        #: seconds that are never slept
        self.slept: list[float] = []
        self.host = self.serve(self._handler())
        self.url = f"http://{self.host}"

    def source(
        self, name: str = "a/b", credentials: tuple[str, str] | None = None
    ) -> RegistrySource:
        """A source of one of its images, which does not really sleep."""
        transport = Transport(silence_s_max=5, sleep=self.slept.append)
        reference = parse_reference(f"{self.host}/{name}")
        return RegistrySource(reference, credentials=credentials, transport=transport)

    def paths(self) -> list[str]:
        return [urlsplit(path).path for path, _ in self.requests]

    def _handler(registry) -> type[BaseHTTPRequestHandler]:  # two selves
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.requests.append((self.path, self.headers))
                registry._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        if path == "/token":
            self._answer_token(request)
        elif self.statuses:
            _send(request, self.statuses.pop(0), b"", self.status_headers)
        elif not self._is_authorized(request):
            realm = self.realm or f"{self.url}/token"
            challenge = {
                "bearer": f'Bearer realm="{realm}",service="the registry",'
                'scope="repository:a/b:pull"',
                "basic": 'Basic realm="somebody"',
            }.get(self.asks_for, self.asks_for)
            _send(request, 401, b"", {"WWW-Authenticate": challenge})
        elif "/manifests/" in path:
            kind, content = self.manifests.get(path.rpartition("/")[2], ("", b""))
            self._send_content(request, content, kind)
        elif self.redirect:
            _send(request, 307, b"", {"Location": self.redirect + request.path})
        else:
            content = self.blobs.get(path.rpartition("/")[2], b"")
            if self.stalls:
                _send_half(request, content, self.stalls.pop(0))
                return
            self._send_content(request, content, "application/octet-stream")

    def _answer_token(self, request: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(request.path).query)
        is_complete = query == {"service": ["the registry"], "scope": ["repository:a/b:pull"]}
        if not is_complete or not self._shows_account(request):
            _send(request, 401, b"", {})
        else:
            _send(request, 200, json.dumps({"token": self.tokens[0]}).encode(), {})

    def _shows_account(self, request: BaseHTTPRequestHandler) -> bool:
        if self.account is None:
            return True
        pair = base64.b64encode(":".join(self.account).encode()).decode()
        return request.headers.get("Authorization") == f"Basic {pair}"

    def _is_authorized(self, request: BaseHTTPRequestHandler) -> bool:
        if self.asks_for == "basic":
            return self._shows_account(request)
        if not self.asks_for:
            return True
        is_right = request.headers.get("Authorization") == f"Bearer {self.tokens[0]}"
        if is_right and self.is_forgetful:
            del self.tokens[0]
        return is_right

    def _send_content(self, request: BaseHTTPRequestHandler, content: bytes, kind: str) -> None:
        if not content:
            _send(request, 404, b"", {})
            return
        status, headers = 200, {"Content-Type": kind}
        wanted = request.headers.get("Range")
        if wanted and self.ranges != "never":
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if self.ranges == "wrong":
                first -= 1
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[first:]
        size = self.breaks.pop(0) if self.breaks else len(content)
        _send(request, status, content, headers, size)


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    headers: dict[str, str],
    size: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content if size is None else content[:size])


def _send_half(request: BaseHTTPRequestHandler, content: bytes, stall: Stall) -> None:
    _send(request, 200, content, {}, len(content) // 2)
    request.wfile.flush()
    stall.pass_through()
