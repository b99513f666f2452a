"""A WebSocket that sends back what it gets, and a page to try it with.

Open the address that `volant run` shows, or speak to `<address>/echo` by any client.

$ volant run examples/web/websocket_echo.py
<title>echo</title>
"""

import urllib.request

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

import volant

app = volant.App("websocket-echo")
api = FastAPI()

PAGE = """<title>echo</title>
<input autofocus onchange="socket.send(this.value)"><pre id="log"></pre>
<script>
const socket = new WebSocket(new URL("echo", location.href).href.replace("http", "ws"))
socket.onmessage = event => { log.textContent += event.data + "\\n" }
</script>"""


@api.get("/")
def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.function()
@volant.concurrent(max_inputs=1000)
@volant.asgi_app()
def web() -> FastAPI:
    return api


@app.local_entrypoint()
def main() -> None:
    with urllib.request.urlopen(web.get_web_url()) as answer:
        print(answer.readline().decode(), end="")
