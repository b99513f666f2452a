"""Sessions that own a container: what one leaves there, no other sees.

$ volant run examples/web/private_sessions.py
ann sees ann.txt, bob sees bob.txt
"""

import subprocess
import sys
import urllib.request

import volant

app = volant.App("private-sessions")

#: Any program that listens does; this one keeps the files that it is sent.
FILES = """
import os, tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.chdir(tempfile.mkdtemp())

class Handler(BaseHTTPRequestHandler):
    def do_PUT(self):
        with open(os.path.basename(self.path), "wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(sorted(os.listdir())).encode())

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@app.server(port=8000, unauthenticated=True, max_concurrency=5)
@volant.sessioned()
class Desk:
    """Keeps the files of one session."""

    @volant.enter()
    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", FILES])


def ask(session_id: str, path: str = "", data: bytes | None = None) -> str:
    """What a session's server answers."""
    request = urllib.request.Request(
        f"{Desk.get_url()}/{path}", data, {"Volant-Session-Id": session_id},
        method="GET" if data is None else "PUT",
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


@app.local_entrypoint()
def main() -> None:
    sessions = {name: Desk.sessions.start(idle_timeout=60) for name in ("ann", "bob")}
    for name, session in sessions.items():
        ask(session.session_id, f"{name}.txt", b"mine")
    seen = {name: ask(session.session_id) for name, session in sessions.items()}
    print(", ".join(f"{name} sees {files}" for name, files in seen.items()))
    for session in sessions.values():
        Desk.sessions.terminate(session.token)
