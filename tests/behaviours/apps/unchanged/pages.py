"""Functions that answer to the web, as a program for Modal has them."""

from __future__ import annotations

import modal

app = modal.App("pages")


@app.function()
@modal.asgi_app()
def asgi():
    async def answer(scope, receive, send):
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi " + path.encode()})

    return answer


@app.function()
@modal.concurrent(max_inputs=10)
@modal.wsgi_app(label="plain-pages")
def wsgi():
    def answer(environ, start):
        start("200 OK", [])
        return [b"wsgi ", environ["PATH_INFO"].encode()]

    return answer


@app.function()
def double(x: int) -> int:
    return 2 * x
