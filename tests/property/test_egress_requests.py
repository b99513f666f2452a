"""What passes on from a sandbox's requests is for hosts of the list alone, however it is written.

What went out is read anew, as a server does.
"""

from __future__ import annotations

import asyncio
import contextlib

import h11
from hypothesis import given, strategies as st

from volantd.egress.exchange import Exchange

PIECES = st.sampled_from([
    b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"GET http://evil.test/ HTTP/1.1\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: good.test\r\n",
    b"Host: evil.test\r\n", b"Host: good.test\r\n", b"host:good.test\r\n",
    b"Host: good.test:80\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 50\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: y\r\n",
    b" folded\r\n",
    b"Expect: 100-continue\r\n", b"\r\n", b"\r\n", b"\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n",
    b"abcde",
    b"\n", b"\r", b"\0",
])  # fmt: skip


class FakeStream:
    """Bytes to receive, and what was sent."""

    def __init__(self, incoming: bytes, *, answers: bool = False) -> None:
        self._incoming = [incoming[at : at + 37] for at in range(0, len(incoming), 37)]
        self._answers = answers
        self.sent = b""

    async def receive(self) -> bytes:
        await asyncio.sleep(0)
        return self._incoming.pop(0) if self._incoming else b""

    async def send(self, data: bytes) -> None:
        self.sent += data
        if self._answers and data.endswith(b"\r\n\r\n"):
            self._incoming.append(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def close(self) -> None:
        self._incoming.clear()

    def abort(self) -> None:
        self._incoming.clear()


async def passed_on(data: bytes) -> list[bytes]:
    """What goes out, by connection."""
    made: list[FakeStream] = []

    async def dial(name: str) -> FakeStream:
        assert name == "good.test"
        made.append(FakeStream(b"", answers=True))
        return made[-1]

    exchange = Exchange(
        FakeStream(data), 80, lambda name: name == "good.test", dial, {}  # type: ignore[arg-type]
    )  # fmt: skip
    with contextlib.suppress(OSError):
        await exchange.run()
    return [one.sent for one in made]


@given(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=200))
def test_requests_go_to_hosts_of_the_list_and_end_where_they_say(data: bytes) -> None:
    for sent in asyncio.run(passed_on(data)):
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(sent)
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                names = [value for name, value in event.headers if name == b"host"]
                assert [name.split(b":")[0] for name in names] == [b"good.test"]
                assert event.target[:1] in (b"/", b"*")
            elif isinstance(event, h11.EndOfMessage):
                if reader.our_state is h11.SEND_RESPONSE:
                    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE:
                    break
                reader.start_next_cycle()
            elif not isinstance(event, h11.Data):
                break
