"""Web functions that are reached through the gateway."""

from __future__ import annotations

import os
from typing import Any

import volant

app = volant.App("gated")


def answer(body: bytes) -> Any:
    """An app of the plainest kind, that also echoes what comes over a WebSocket."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            return
        if scope["path"].endswith("/die"):
            os._exit(3)
        if scope["path"].endswith("/slow"):
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        text = body + f" {scope['root_path']} {scope['path']} {size}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})

    return serve


@app.function()
@volant.concurrent(max_inputs=20)
@volant.asgi_app()
def open_to_all() -> Any:
    return answer(b"hello")


@app.function(max_containers=1)
@volant.asgi_app()
def one_at_a_time() -> Any:
    return answer(b"alone")


@app.function(timeout=1)
@volant.asgi_app()
def hurried() -> Any:
    return answer(b"quick")


@app.function()
@volant.asgi_app(requires_proxy_auth=True)
def guarded() -> Any:
    return answer(b"secret")


@app.function()
@volant.asgi_app(label="my-own")
def labelled() -> Any:
    return answer(b"labelled")


@app.function()
@volant.asgi_app()
def broken() -> Any:
    raise ValueError("no such model")


@app.cls()
class Model:
    @volant.enter()
    def load(self) -> None:
        self.name = b"model"

    @volant.asgi_app()
    def first(self) -> Any:
        return answer(self.name)

    @volant.asgi_app()
    def second(self) -> Any:
        return answer(self.name + b" two")
