"""A server of which each client keeps its container: what that remembers is in its memory.

$ volant run examples/web/sticky_server.py
a server at zero answers 503, come again in 1 s
ann has counted to 3, bob to 2
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request

import volant

app = volant.App("sticky-server")

#: Any program that listens does; this one counts the requests of each session.
COUNTER = """
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

counts = Counter()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        session = self.headers.get("Volant-Session-Id")
        counts[session] += session is not None
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(counts[session]).encode())

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@app.server(port=8000, unauthenticated=True, max_containers=2, exit_grace_period=5)
class Counter:
    """Counts the requests of each session."""

    @volant.enter()
    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", COUNTER])


def ask(session: str | None = None, *, patient: bool = True) -> str:
    """What the server answers; whoever is patient comes again when told to."""
    headers = {} if session is None else {"Volant-Session-Id": session}
    request = urllib.request.Request(str(Counter.get_url()), headers=headers)
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                pause_s = int(error.headers["Retry-After"])
                if not patient:
                    return f"{error.code}, come again in {pause_s} s"
        time.sleep(pause_s)


@app.local_entrypoint()
def main() -> None:
    print("a server at zero answers", ask(patient=False))
    ask()
    Counter.update_autoscaler(min_containers=2)
    answers = {name: ask(name) for name in ("ann", "bob", "ann", "bob", "ann")}
    print(f"ann has counted to {answers['ann']}, bob to {answers['bob']}")
