"""Servers: programs that listen on a port, several of them side by side."""

from __future__ import annotations

import subprocess
import sys

import volant

app = volant.App("serving")

#: Answers which container it is in, when it has all of a request.
PROGRAM = """
import http.server, os, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = os.environ["VOLANT_CONTAINER_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        if self.rfile.read(int(self.headers["Content-Length"])) == b"end":
            os._exit(8)
        self.do_GET()

    def log_message(self, *_):
        pass

def end(*_):
    print("asked to end", flush=True)
    os._exit(7)

signal.signal(signal.SIGTERM, end)
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
server.serve_forever()
"""


def start(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)])


@app.server(port=8301, unauthenticated=True)
class Asleep:
    @volant.enter()
    def start(self) -> None:
        print("it starts\nand listens", flush=True)
        start(8301)


@app.server(port=8302, unauthenticated=True, min_containers=2, max_containers=2)
class Pair:
    @volant.enter()
    def start(self) -> None:
        start(8302)


@app.server(port=8303, unauthenticated=True, max_concurrency=1, max_containers=1)
class Narrow:
    @volant.enter()
    def start(self) -> None:
        start(8303)


@app.server(port=8304)
class Closed:
    @volant.enter()
    def start(self) -> None:
        start(8304)


#: Speaks nothing but HTTP/2: echoes a body, and says behind it how long that was.
H2_PROGRAM = """
import asyncio, sys
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.bodies = transport, {}
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.bodies[event.stream_id] = b""
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                number, body = event.stream_id, self.bodies.pop(event.stream_id)
                self.h2.send_headers(number, [(":status", "200")])
                self.h2.send_data(number, body)
                self.h2.send_headers(number, [("x-size", str(len(body)))], end_stream=True)
        self.transport.write(self.h2.data_to_send())

async def serve():
    await asyncio.get_running_loop().create_server(Echo, "0.0.0.0", int(sys.argv[1]))
    await asyncio.Event().wait()

asyncio.run(serve())
"""


@app.server(port=8310, unauthenticated=True, h2_enabled=True)
class Newer:
    @volant.enter()
    def start(self) -> None:
        subprocess.Popen([sys.executable, "-c", H2_PROGRAM, "8310"])


@app.server(port=8305, unauthenticated=True, startup_timeout=0.2)
class Silent:
    @volant.enter()
    def start(self) -> None:
        pass


@app.server(port=8309, unauthenticated=True)
class Mortal:
    @volant.enter()
    def start(self) -> None:
        start(8309)


@app.server(port=8310, unauthenticated=True, max_concurrency=1, max_containers=2)
@volant.sessioned()
class Owned:
    @volant.enter()
    def start(self) -> None:
        start(8310)


@app.function(max_containers=3)
@volant.web_server(8306)
def threefold() -> None:
    start(8306)


ending = volant.App("serving-ending")


@ending.server(port=8307, unauthenticated=True, exit_grace_period=20)
class Draining:
    @volant.enter()
    def start(self) -> None:
        self.process = start(8307)

    @volant.exit()
    def stop(self) -> None:
        print(f"it ended with {self.process.wait()}", flush=True)


lasting = volant.App("serving-lasting")


@lasting.server(port=8308, unauthenticated=True)
class Lasting:
    @volant.enter()
    def start(self) -> None:
        start(8308)
