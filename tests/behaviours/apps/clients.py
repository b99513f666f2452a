"""A deployed app for clients of all kinds."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from typing import TYPE_CHECKING, Any

from fastapi import (
    FastAPI,
    Request,  # noqa: TC002  # FastAPI reads the types of parameters
    UploadFile,  # noqa: TC002
    WebSocket,  # noqa: TC002
)
from fastapi.responses import FileResponse, StreamingResponse
from fastapi_offline import FastAPIOffline

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = volant.App("clients")
api = FastAPI()
noted: list[str] = []
FILE_BYTES = bytes(range(256)) * 400
#: A code of its own, by which a WebSocket may be closed.
CLOSE_CODE = 4001


@api.get("/noted")
async def what_is_noted() -> list[str]:
    return noted


@api.api_route("/file", methods=["GET", "HEAD"])
def file() -> FileResponse:
    with tempfile.NamedTemporaryFile(delete=False) as made:
        made.write(FILE_BYTES)
    return FileResponse(made.name)


@api.post("/digest")
async def digest(request: Request) -> dict[str, Any]:
    found, size = hashlib.sha256(), 0
    async for piece in request.stream():
        found.update(piece)
        size += len(piece)
    return {"size": size, "sha256": found.hexdigest()}


@api.post("/form")
def form(file: UploadFile) -> dict[str, Any]:
    return {"name": file.filename, "size": file.size}


async def double(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers each piece with two, before the next has come."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        body = 2 * message["body"]
        await send({"type": "http.response.body", "body": body, "more_body": more})


api.mount("/double", double)


async def summed(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says behind its body what that was, to who takes it."""
    takes = "http.response.trailers" in scope.get("extensions", {})
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": takes})
    await send({"type": "http.response.body", "body": FILE_BYTES})
    if takes:
        digest = hashlib.sha256(FILE_BYTES).hexdigest().encode()
        await send({"type": "http.response.trailers", "headers": [(b"x-sha256", digest)]})


api.mount("/summed", summed)


@api.get("/three")
async def three() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@api.get("/events")
async def events() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: here\n\n"
                await asyncio.sleep(0.01)
        finally:
            noted.append("no more events")

    return StreamingResponse(lines(), media_type="text/event-stream")


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await websocket.close(CLOSE_CODE, "as you wish")
            return
        await websocket.send({**message, "type": "websocket.send"})
    noted.append(f"closed by {message['code']}")


@app.function()
@volant.concurrent(max_inputs=300)
@volant.asgi_app()
def site() -> FastAPI:
    return api


@app.function(timeout=1, max_containers=1)
@volant.concurrent(max_inputs=2)
@volant.asgi_app()
def hurried() -> FastAPI:
    return late


late = FastAPI()


@late.get("/")
async def wait(request: Request) -> None:
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    noted.append("gave up")


late.get("/noted")(what_is_noted)


@app.function()
@volant.fastapi_endpoint(docs=True)
def add(left: int, right: int = 2) -> dict[str, int]:
    return {"sum": left + right}


described = FastAPIOffline(title="described")


@described.get("/halve")
async def halve(number: int) -> dict[str, float]:
    return {"half": number / 2}


@app.function()
@volant.concurrent(max_inputs=20)
@volant.asgi_app()
def docs() -> FastAPI:
    """Its page of docs brings all that it needs along."""
    return described
