"""A channel of conda on 127.0.0.1, with packages that are made here."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import tarfile
from http.server import BaseHTTPRequestHandler

from tests.unit.images.serving import Served


class Channel(Served):
    """Serves files by their paths; a context that ends the server."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.listed: dict[str, dict[str, object]] = {}
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                channel.requests.append(self.path)
                content = channel.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.address = f"http://{self.serve(Handler)}/channel"

    def add(
        self, platform: str, version: str, program: bytes, *, index: str = "current_repodata.json"
    ) -> str:
        """Add a package of micromamba and list it; the path of its file."""
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            entry = tarfile.TarInfo("bin/micromamba")
            entry.size, entry.mode = len(program), 0o755
            archive.addfile(entry, io.BytesIO(program))
        package = bz2.compress(target.getvalue())
        name = f"micromamba-{version}-0.tar.bz2"
        self.listed[name] = {
            "name": "micromamba", "version": version, "build_number": 0,
            "sha256": hashlib.sha256(package).hexdigest(),
        }  # fmt: skip
        path = f"/channel/{platform}/{name}"
        self.files[path] = package
        self.files[f"/channel/{platform}/{index}"] = json.dumps({"packages": self.listed}).encode()
        return path
