"""One container waits for a hundred slow pages at once: inputs of an async function, side by side.

$ volant run examples/concurrent_pages.py
100 pages of 1,024 bytes, fetched by 1 container
more than half of them were waited for at the same time: True
"""

import asyncio
import socket

import volant

app = volant.App("concurrent-pages")


@app.function(max_containers=1)
@volant.concurrent(max_inputs=100)
async def fetch(port: int, page: int) -> tuple[int, str]:
    """How many bytes a page has, and which container fetched it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{page} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    _, _, body = answer.partition(b"\r\n\r\n")
    return len(body), socket.gethostname()


class SlowServer:
    """Something slow to ask, in the program itself; it counts who waits."""

    waiting = waiting_most = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.waiting += 1
        self.waiting_most = max(self.waiting, self.waiting_most)
        await asyncio.sleep(0.5)
        self.waiting -= 1
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"." * 1024)
        writer.close()


@app.local_entrypoint()
async def main() -> None:
    slow = SlowServer()
    async with await asyncio.start_server(slow.answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pages = [page async for page in fetch.map.aio([port] * 100, range(100))]
    [size], containers = {size for size, _ in pages}, {container for _, container in pages}
    print(f"{len(pages)} pages of {size:,} bytes, fetched by {len(containers)} container")
    print("more than half of them were waited for at the same time:", slow.waiting_most > 50)
