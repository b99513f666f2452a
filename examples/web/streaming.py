"""A chat-like endpoint: each word reaches the reader when it is there, as server-sent events.

$ volant run examples/web/streaming.py
data: slowly

data: but

data: surely

"""

import asyncio
import urllib.request
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

import volant

app = volant.App("streaming")


async def words(prompt: str) -> AsyncIterator[str]:
    for word in prompt.split():
        await asyncio.sleep(0.2)  # what a model would take
        yield f"data: {word}\n\n"


@app.function(timeout=3600)
@volant.concurrent(max_inputs=100)
@volant.fastapi_endpoint()
async def chat(prompt: str = "slowly but surely") -> StreamingResponse:
    return StreamingResponse(words(prompt), media_type="text/event-stream")


@app.local_entrypoint()
def main() -> None:
    with urllib.request.urlopen(chat.get_web_url()) as answer:
        for line in answer:
            print(line.decode(), end="")
