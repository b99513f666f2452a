"""Functions that answer to the web, one container of each, and what their requests wait for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from fastapi import (
    BackgroundTasks,  # noqa: TC002  # FastAPI reads the types of parameters
    FastAPI,
    Request,  # noqa: TC002
    WebSocket,  # noqa: TC002
)
from fastapi.responses import JSONResponse, Response, StreamingResponse
from flask import Flask, request as flask_request

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = volant.App("web")
#: Longer than this no request waits for another.
PATIENCE_S = 20.0


class Refused(Exception):
    pass


nested = volant.App("nested")


@nested.function(serialized=True)
def negate(number: int) -> int:
    return -number


@app.function()
def double(number: int) -> int:
    return 2 * number


@app.function(min_containers=1)
@volant.fastapi_endpoint(method="POST", docs=True)
def create(name: str, count: int = 1) -> dict[str, Any]:
    return {"name": name, "count": count, "input": volant.current_input_id()}


@app.cls(min_containers=1)
class Calling:
    """Requests that call functions, of this app and of one that they run."""

    @volant.fastapi_endpoint()
    async def doubled(self, number: int) -> int:
        return await double.remote.aio(number)

    @volant.fastapi_endpoint()
    def negated(self, number: int) -> int:
        with nested.run():
            return negate.remote(double.remote(number))


@app.function(min_containers=1)
@volant.concurrent(max_inputs=8)
@volant.fastapi_endpoint(label="plain-label")
async def ask(question: str = "") -> str:
    return question[::-1]


@contextlib.asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[dict[str, str]]:
    print("started", flush=True)
    yield {"shared": "with requests"}
    print("shut down", flush=True)


api = FastAPI(lifespan=lifespan)
gates: dict[str, asyncio.Event] = {}
noted: list[str] = []


@api.get("/state")
async def state(request: Request) -> dict[str, Any]:
    client = request.client
    return {
        "shared": request.state.shared, "noted": noted, "client": client and client.host,
        "url": str(request.url), "root": request.scope["root_path"],
    }  # fmt: skip


@api.get("/stream/{gate}")
async def stream(gate: str) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.wait_for(gates.setdefault(gate, asyncio.Event()).wait(), PATIENCE_S)
        yield "last\n"

    return StreamingResponse(chunks(), media_type="text/plain")


@api.get("/open/{gate}")
async def open_gate(gate: str) -> None:
    gates.setdefault(gate, asyncio.Event()).set()


async def upper(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers to each piece of a body before the next one has come."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        body = message["body"].upper()
        await send({"type": "http.response.body", "body": body, "more_body": more})


api.mount("/upper", upper)
LARGE_BYTES = 30 << 20


@api.get("/large")
async def large() -> Response:
    return Response(bytes(LARGE_BYTES))


@api.post("/later")
async def later(tasks: BackgroundTasks) -> str:
    tasks.add_task(noted.append, "in the background")
    return "soon"


@api.get("/endless")
async def endless() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"."
                await asyncio.sleep(0.01)
        finally:
            noted.append("disconnected")

    return StreamingResponse(chunks())


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_bytes():
        await websocket.send_bytes(message)


@api.get("/fail")
async def fail() -> None:
    raise Refused("on purpose")


@app.function(min_containers=1)
@volant.asgi_app()
@volant.concurrent(max_inputs=100)
def whole() -> FastAPI:
    return api


@app.function(min_containers=1)
@volant.asgi_app()
def bare() -> Any:
    """An app that knows of no lifespan, and tells where it listens."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        paths = [_listener_name(int(name)) for name in os.listdir("/proc/self/fd")]
        await Response("\n".join(filter(None, paths)))(scope, receive, send)

    return serve


def _listener_name(fd: int) -> str | None:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            name = sock.getsockname() if sock.family == socket.AF_UNIX else None
    except OSError:
        return None
    return name if isinstance(name, str) and name else None


flask = Flask("web")


@flask.route("/sum", methods=["POST"])
def add() -> str:
    return str(sum(int(part) for part in flask_request.get_data().split()))


@flask.route("/lines")
def lines() -> Iterator[str]:
    return iter(["one\n", "two\n"])


@app.function(min_containers=1)
@volant.concurrent(max_inputs=4)
@volant.wsgi_app()
def flasked() -> Flask:
    return flask


SERVER_PORT = 18_437


@app.function(min_containers=1)
@volant.web_server(SERVER_PORT, startup_timeout=PATIENCE_S)
def served() -> None:
    subprocess.Popen([sys.executable, "-m", "http.server", str(SERVER_PORT)], cwd="/")


@app.cls(min_containers=1)
class Mixed:
    """Answers to the web beside plain methods, in one container."""

    @volant.enter()
    def begin(self) -> None:
        self.log = ["entered"]

    @volant.method()
    def note(self, text: str) -> list[str]:
        self.log.append(text)
        return self.log

    @volant.method()
    async def note_async(self, text: str) -> list[str]:
        self.log.append(text)
        return self.log

    @volant.method()
    def count(self, upto: int) -> Iterator[int]:
        yield from range(upto)

    @volant.fastapi_endpoint()
    def read(self, last: int = 10) -> list[str]:
        return self.log[-last:]

    @volant.asgi_app()
    def second(self) -> Any:
        return JSONResponse({"log": self.log})

    @volant.exit()
    def close(self) -> None:
        print("goodbye", flush=True)


@contextlib.asynccontextmanager
async def failing_lifespan(api: FastAPI) -> AsyncIterator[None]:
    raise Refused("no weights")
    yield


@app.cls()
class FailsAtStart:
    @volant.asgi_app()
    def web(self) -> FastAPI:
        return FastAPI(lifespan=failing_lifespan)

    @volant.method()
    def answer(self) -> int:
        return 42


@app.cls()
class NeverListens:
    @volant.web_server(SERVER_PORT + 1, startup_timeout=0.05)
    def web(self) -> None:
        pass

    @volant.method()
    def answer(self) -> int:
        return 42


@app.cls()
class ReturnsNothing:
    @volant.wsgi_app()
    def web(self) -> None:
        pass

    @volant.method()
    def answer(self) -> int:
        return 42
