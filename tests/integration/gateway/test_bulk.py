"""Large bodies of responses, which the kernel passes on: every byte, and where they end."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from pathlib import Path

import pytest

from tests.integration.gateway.stage import HOST
from tests.support import eventually, same

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
MIB = 1 << 20
#: More than sockets and the gateway hold between a container and a client that takes nothing.
FAR_TOO_MUCH = 128 * MIB


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def in_chunks(data: bytes, sizes: list[int]) -> bytes:
    """A chunked body whose chunks have these sizes over and over, and a trailer."""
    made, at, turn = [], 0, 0
    while at < len(data):
        piece = data[at : at + sizes[turn % len(sizes)]]
        made.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at, turn = at + len(piece), turn + 1
    return b"".join(made) + b"0\r\nX-Sum: 1\r\n\r\n"


def respond(end, head: bytes, body: bytes) -> threading.Thread:
    """Send a response meanwhile, however slowly it is taken."""

    def send() -> None:
        with contextlib.suppress(OSError):  # nobody takes it any more
            end.send(head + body)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
DATA = noise(9 * MIB + 12_345)
RESPONSES = {
    "a length": (sized(DATA), DATA),
    "large chunks": (CHUNKED, in_chunks(DATA, [MIB])),
    "one chunk": (CHUNKED, in_chunks(DATA, [len(DATA)])),
    "chunks of all sizes": (CHUNKED, in_chunks(DATA, [MIB, 1, 300_000, 70, 4085, MIB + 1, 4096])),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_large_body_passes_as_it_is_and_the_connections_go_on(stage, name):
    head, body = RESPONSES[name]
    client, server = stage.pair()
    client.get(b"/next")  # ahead of its turn
    sending = respond(server, head, body)
    assert client.head() == head
    assert same(client.exactly(len(body)), body)
    sending.join()
    assert server.head().startswith(b"GET /next ")
    server.send(OK)
    assert client.answer()[2] == b"ok"
    assert stage.granted == 1


def test_what_was_sent_is_counted_whole(stage):
    client, server = stage.pair()
    head, body = RESPONSES["chunks of all sizes"]
    sending = respond(server, head, body)
    client.exactly(len(head) + len(body))
    sending.join()

    def last() -> dict[str, object]:
        lines = Path(stage.log).read_text().splitlines() if Path(stage.log).exists() else []
        found = [json.loads(line) for line in lines]
        return next((line for line in found if line.get("route") == "app-f"), {})

    assert eventually(last)["sent_bytes"] == len(head) + len(body)


@pytest.mark.parametrize("passed", [1, 3])
@pytest.mark.parametrize("name", ["a length", "large chunks"])
def test_clients_that_take_their_bytes_in_pieces_share_what_passes_them(make_stage, name, passed):
    """Also with those for whom they are copied, because there is one already."""
    stage = make_stage(limits={"BULK_CLIENTS_MAX": passed})
    head, body = RESPONSES[name]
    pairs = [stage.pair() for _ in range(3)]
    sendings = [respond(server, head, body) for _, server in pairs]
    got = [b""] * len(pairs)
    for _ in range(0, len(head) + len(body), 64 << 10):  # each takes a little in its turn
        for at, (client, _) in enumerate(pairs):
            wanted = min(64 << 10, len(head) + len(body) - len(got[at]))
            got[at] += client.exactly(wanted)
    for sending in sendings:
        sending.join()
    assert all(one == head + body for one in got)


def test_a_client_that_takes_nothing_stops_its_container_and_goes_on_later(stage):
    client, server = stage.pair()
    body = noise(MIB) * (FAR_TOO_MUCH // MIB)
    sending = respond(server, sized(body), body)
    other, other_server = stage.pair()
    other_server.send(OK)
    assert other.answer()[2] == b"ok"
    assert client.head() == sized(body)
    assert sending.is_alive()
    for at in range(0, len(body), MIB):
        assert same(client.exactly(MIB), body[at : at + MIB])
    sending.join()


def test_a_client_that_leaves_in_the_middle_leaves_nothing_to_the_next(stage):
    client, server = stage.pair()
    body = noise(FAR_TOO_MUCH // 2)
    sending = respond(server, sized(body), body)
    client.exactly(3 * MIB)
    client.close()
    sending.join()
    assert server.rest() == b""
    again, fresh = stage.pair()
    head, body = RESPONSES["large chunks"]
    sending = respond(fresh, head, body)
    assert same(again.exactly(len(head) + len(body)), head + body)
    sending.join()


@pytest.mark.parametrize("head", [sized(DATA), CHUNKED + b"%x\r\n" % len(DATA)])
def test_a_container_that_leaves_in_the_middle_cuts_its_client_off(stage, head):
    client, server = stage.pair()
    sending = respond(server, head, DATA[: 5 * MIB])
    assert same(client.exactly(len(head) + 5 * MIB), head + DATA[: 5 * MIB])
    sending.join()
    server.close()
    assert client.rest() == b""
    other, fresh = stage.pair()
    fresh.send(OK)
    assert other.answer()[2] == b"ok"


@pytest.mark.parametrize("wrong", [b"x\r\n", b"\r\nno size\r\n", b"\r\n-5\r\n", b"\r\n5\n"])
def test_framing_that_cannot_be_does_not_pass_behind_large_chunks(stage, wrong):
    client, server = stage.pair()
    body = b"%x\r\n%b\r\n" % (MIB, DATA[:MIB])
    sending = respond(server, CHUNKED, body * 2 + body[:-2] + wrong + b"0\r\n\r\n")
    got = client.rest()
    sending.join()
    assert (CHUNKED + body * 3).startswith(got)
    assert server.rest() == b""


@pytest.mark.parametrize("name", ["a length", "large chunks"])
def test_a_container_that_says_more_than_it_should_serves_nobody_again(stage, name):
    head, body = RESPONSES[name]
    client, server = stage.pair()
    client.get(b"/next")
    sending = respond(server, head, body + OK)
    assert same(client.exactly(len(head) + len(body)), head + body)
    sending.join()
    fresh = stage.server.accept()
    assert fresh.head().startswith(b"GET /next ")
    fresh.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")
    assert client.answer()[2] == b"fine"


def test_an_old_client_gets_large_chunks_without_their_framing(stage):
    client = stage.client()
    client.send(b"GET / HTTP/1.0\r\n" + HOST + b"\r\n")
    server = stage.server.accept()
    server.head()
    sending = respond(server, *RESPONSES["large chunks"])
    client.head()
    assert same(client.rest(), DATA)
    sending.join()


def test_a_request_may_go_on_while_its_large_answer_passes(stage):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nab")
    server = stage.server.accept()
    server.head()
    assert server.exactly(2) == b"ab"
    head, body = RESPONSES["large chunks"]
    sending = respond(server, head, body[: 3 * MIB])
    assert same(client.exactly(len(head) + 3 * MIB), head + body[: 3 * MIB])
    sending.join()
    client.send(b"cd")
    assert server.exactly(2) == b"cd"
    sending = respond(server, b"", body[3 * MIB :])
    assert same(client.exactly(len(body) - 3 * MIB), body[3 * MIB :])
    sending.join()


def test_a_function_that_runs_too_long_is_ended_in_the_middle_of_a_large_body(stage):
    stage.route(timeout_s=0.2)
    client, server = stage.pair()
    sending = respond(server, sized(DATA), DATA[:-1])
    assert (sized(DATA) + DATA[:-1]).startswith(client.rest())
    sending.join()
    assert server.rest() == b""
