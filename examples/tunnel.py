"""Three containers serve at one port side by side; the program here reads each through a tunnel.

$ volant run examples/tunnel.py
container 0 answers: page 0 of a container's own server
container 1 answers: page 1 of a container's own server
container 2 answers: page 2 of a container's own server
"""

import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import volant

app = volant.App("tunnel")


@app.function(max_containers=3)
def serve(index: int) -> Iterator[str]:
    """Serve one page at port 8000, until somebody has read it."""
    was_read = threading.Event()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"page {index} of a container's own server".encode())
            was_read.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 8000), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with volant.forward(8000) as tunnel:
        yield tunnel.url
        was_read.wait()
    server.shutdown()


@app.local_entrypoint()
def main() -> None:
    streams = [serve.remote_gen(index) for index in range(3)]
    urls = [next(stream) for stream in streams]
    for index, url in enumerate(urls):
        with urllib.request.urlopen(url) as answer:
            print(f"container {index} answers: {answer.read().decode()}")
    for stream in streams:
        list(stream)
