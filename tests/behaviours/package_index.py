"""An index of packages on 127.0.0.1, whose wheels are made here."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from tests.unit.images.serving import Served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.images.serving import Stall


def wheel(
    name: str, version: str, files: Mapping[str, str], *, requires: str = "", script: str = "",
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:  # fmt: skip
    """A wheel: its file name and its content.

    Args:
        files: texts by path.
        requires: a requirement of it.
        script: `name = module:function`, a program that comes with it.
    """
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    inside = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if script:
        inside[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script}\n"
    lines = []
    for path, text in inside.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(text.encode())}")
    inside[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in inside.items():
            archive.writestr(path, text)
    return f"{name}-{version}-{tag}.whl", target.getvalue()


class PackageIndex(Served):
    """Serves wheels; a context that ends the server."""

    def __init__(self) -> None:
        #: by project, then by file name
        self.projects: dict[str, dict[str, bytes]] = {}
        #: what a client has to show; nothing if anybody may read
        self.account = ""
        #: where answers with a file stop when half of it is sent; the other half is not
        self.stall: Stall | None = None
        #: the paths that were asked for
        self.requests: list[str] = []
        self._host = self.serve(self._handler())

    @property
    def url(self) -> str:
        account = f"{self.account}@" if self.account else ""
        return f"http://{account}{self._host}/simple"

    def add(self, name: str, version: str, files: Mapping[str, str], **fields: str) -> None:
        """Offer a package."""
        file, content = wheel(name, version, files, **fields)
        self.projects.setdefault(name, {})[file] = content

    def _answer(self, path: str, shown: str | None) -> tuple[int, bytes]:
        wanted = f"Basic {base64.b64encode(self.account.encode()).decode()}"
        if self.account and shown != wanted:
            return 401, b""
        _, place, project, *rest = path.split("/")
        files = self.projects.get(project)
        if files is None:
            return 404, b""
        if place == "files":
            return 200, files[rest[0]]
        links = [f'<a href="/files/{project}/{name}">{name}</a>' for name in files]
        return 200, f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

    def _handler(index) -> type[BaseHTTPRequestHandler]:  # two selves
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                status, content = index._answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                is_page = self.path.startswith("/simple")
                kind = "text/html" if is_page else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if index.stall is not None and not is_page:
                    content = content[: len(content) // 2]
                    self.wfile.write(content)
                    index.stall.pass_through()
                    return
                self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler
