"""Clients of HTTP/2 that send too much, too little or nonsense."""

from __future__ import annotations

import random
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.integration.gateway.h2_client import GET, POST, H2Client
from tests.integration.gateway.stage import PATIENCE_S, Stage
from tests.support import eventually
from volantd.gateway import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hyperframe.frame import Frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: Of a machine that is slow, not of the gateway.
FLOOD_FRAMES = 100_000


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gateway for all who are refused; each test shows that it goes on for others."""
    stage = Stage(tmp_path_factory.mktemp("gw"))
    yield stage
    stage.close()


@pytest.fixture
def client(refusing: Stage) -> Iterator[H2Client]:
    client = H2Client(refusing)
    yield client
    client.close()
    assert_serves(refusing)


def assert_serves(stage: Stage) -> None:
    """Somebody else is answered, whatever comes to the container ahead of it."""
    other = H2Client(stage)
    number = other.request([*GET[:3], (":path", "/other")])
    while True:
        server = stage.server.accept()
        try:
            head = server.head()
        except (AssertionError, ConnectionResetError):
            continue  # of one whose client is gone
        if head.startswith(b"GET /other "):
            break
    server.send(OK)
    assert other.answer(number).body == b"ok"
    other.close()
    server.close()


def flood(client: H2Client, frames: Any) -> None:
    """Send frames until the gateway has enough, or there are no more."""
    try:
        for frame in frames:
            client.sock.sendall(frame if isinstance(frame, bytes) else frame.serialize())
    except (BrokenPipeError, ConnectionResetError):
        return
    client.rest()


def settings(_: int) -> Frame:
    return SettingsFrame(settings={SettingCodes.INITIAL_WINDOW_SIZE: 70_000})


FLOODS: dict[str, Callable[[int], Frame]] = {
    "settings": settings,
    "pings": lambda index: PingFrame(opaque_data=index.to_bytes(8, "big")),
    "priorities": lambda _: PriorityFrame(stream_id=1, depends_on=0, stream_weight=3),
    "windows": lambda _: WindowUpdateFrame(stream_id=0, window_increment=1),
}


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
def test_frames_that_belong_to_no_request_are_counted(
    client: H2Client, make: Callable[[int], Frame]
) -> None:
    """CVE-2019-9512, -9513 and -9515."""
    packs = (
        b"".join(make(at + index).serialize() for index in range(500))
        for at in range(0, FLOOD_FRAMES, 500)
    )
    flood(client, packs)
    assert client.ended in (None, -1, ErrorCodes.ENHANCE_YOUR_CALM)


def test_requests_that_are_taken_back_at_once_are_counted(
    refusing: Stage, client: H2Client
) -> None:
    """CVE-2023-44487."""
    before = refusing.granted
    sent = 0
    try:
        for _ in range(FLOOD_FRAMES):
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, GET, end_stream=True)
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
            client.flush()
            sent += 1
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 20 * limits.RESETS_BURST, "it goes on and on"
    assert refusing.granted - before <= 20 * limits.RESETS_BURST


def test_a_request_that_is_answered_at_once_may_be_taken_back_with_it(client: H2Client) -> None:
    number = client.h2.get_next_available_stream_id()
    client.h2.send_headers(number, [*GET[:2], (":authority", "nobody"), GET[3]], end_stream=True)
    client.h2.reset_stream(number, ErrorCodes.CANCEL)
    client.flush()
    assert client.answer(client.request([*GET[:3], (":path", "/ x")])).status == 400


def test_bodies_of_nothing_are_counted(client: H2Client) -> None:
    """CVE-2019-9518."""
    number = client.request(POST, end=False)
    pack = DataFrame(stream_id=number, data=b"").serialize() * 500
    flood(client, (pack for _ in range(FLOOD_FRAMES // 500)))


def test_a_head_without_an_end_is_refused(client: H2Client) -> None:
    """CVE-2024-27316."""
    begin = HeadersFrame(stream_id=1, data=b"\x00\x01a\x01b")
    more = ContinuationFrame(stream_id=1, data=b"\x00\x01a\x01b")
    flood(client, [begin, *([more] * 200)])
    assert client.ended in (-1, None, ErrorCodes.PROTOCOL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM)


def test_a_head_that_unfolds_is_refused(client: H2Client) -> None:
    """A large field is put into the table once, and named many times: CVE-2016-6581."""
    number = client.h2.get_next_available_stream_id()
    bomb = [*GET, *([("x-large", "a" * 3900)] * 100)]
    client.h2.send_headers(number, bomb, end_stream=True)
    client.flush()
    client.rest()
    assert client.ended == ErrorCodes.ENHANCE_YOUR_CALM


def test_a_frame_that_is_too_large_is_refused_before_it_is_there(client: H2Client) -> None:
    client.sock.sendall((1 << 23).to_bytes(3, "big") + b"\0\0" + (1).to_bytes(4, "big"))
    client.rest()
    assert client.ended == ErrorCodes.FRAME_SIZE_ERROR


def test_more_requests_at_once_than_may_be_end_the_connection(client: H2Client) -> None:
    numbers = range(1, 2 * limits.STREAMS_MAX + 3, 2)
    block = client.h2.encoder.encode(GET)
    frames = [
        HeadersFrame(stream_id=number, data=block, flags=["END_HEADERS"]) for number in numbers
    ]
    flood(client, frames)
    assert client.ended in (-1, None, ErrorCodes.PROTOCOL_ERROR, ErrorCodes.REFUSED_STREAM)


@pytest.mark.parametrize("seed", range(8))
def test_any_bytes_end_a_connection_at_most(refusing: Stage, seed: int) -> None:
    """Bytes of chance behind a good beginning, and good frames with some bytes changed."""
    chance = random.Random(seed)
    good = H2Client(refusing)
    good.h2.send_headers(1, POST)
    good.h2.send_data(1, b"abc")
    good.h2.ping(b"01234567")
    frames = bytearray(good.h2.data_to_send())
    good.close()
    for _ in range(40):
        data = bytearray(frames)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        tail = chance.randbytes(chance.randrange(200))
        with socket.create_connection(("127.0.0.1", refusing.port)) as sock:
            sock.sendall(PREFACE + SettingsFrame().serialize() + bytes(data) + tail)
    assert refusing.process.poll() is None
    assert_serves(refusing)


def test_a_connection_without_requests_is_ended(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(limits={"KEEP_ALIVE_S": 0.1, "SWEEP_S": 0.05})
    client = H2Client(stage)
    client.rest()
    assert client.ended == ErrorCodes.NO_ERROR
    with socket.create_connection(("127.0.0.1", stage.port)) as sock:
        sock.sendall(PREFACE[:10])
        sock.settimeout(20)
        assert sock.recv(100) == b""


def test_who_takes_nothing_of_an_answer_is_cut_off(make_stage: Callable[..., Stage]) -> None:
    """CVE-2019-9511 and -9517: the window for an answer stays shut."""
    stage = make_stage(limits={"BODY_IDLE_S": 0.2, "SWEEP_S": 0.05})
    client = H2Client(stage)
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    client.flush()
    number = client.request()
    server = stage.server.accept()
    server.head()
    server.send(OK)
    client.until(lambda: client.answers[number].head)
    client.rest()
    assert client.answers[number].body == b""


def test_a_body_that_does_not_go_on_is_answered(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(limits={"BODY_IDLE_S": 0.2, "SWEEP_S": 0.05})
    client = H2Client(stage)
    number = client.request(POST, end=False)
    stage.server.accept().head()
    assert client.answer(number).status == 408


def test_requests_of_one_connection_count_as_connections(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(limits={"CONNECTIONS_MAX": 4})
    client = H2Client(stage)
    numbers = [client.request() for _ in range(6)]
    refused = [client.answer(number).status for number in numbers[4:]]
    assert refused == [503, 503]


def test_an_idle_connection_gives_way_to_others(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(limits={"CONNECTIONS_MAX": 1, "EVICTED_AFTER_S": 0.05, "SWEEP_S": 0.02})
    idle = H2Client(stage)

    def is_let_in() -> bool:
        client = stage.client()
        client.get()
        ready, _, _ = select.select([client.sock, stage.server.listener], [], [], PATIENCE_S)
        client.close()
        return client.sock not in ready

    eventually(is_let_in)
    idle.rest()


def test_the_log_knows_who_was_refused(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    client = H2Client(stage)
    client.answer(client.request([*GET[:3], (":path", "/ x")]))
    eventually(lambda: stage.log.exists() and '"status": 400' in stage.log.read_text())
