"""The framing between agent and zygote, fed with good and hostile bytes."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given, strategies as st

from volant.runner import control
from volant.wire import values


def frame(kind: int, body: bytes, fd_count: int = 0) -> bytes:
    return struct.pack("<IBBxx", len(body), kind, fd_count) + body


@given(st.binary(max_size=40), st.lists(st.integers(1, 30)))
def test_frames_come_out_whole_however_they_are_cut(fault: bytes, cuts: list[int]) -> None:
    sent = [
        (control.READY, {"import_us": 5, "threads": ["a"]}),
        (control.PREPARE_FAILED, {"fault": fault}),
        (control.EXITED, {"id": "c1", "status": 9}),
    ]
    data = b"".join(control.pack(kind, fields) for kind, fields in sent)
    parser = control.Parser()
    found = []
    while data:
        size = cuts.pop() if cuts else len(data)
        found += parser.feed(data[:size])
        data = data[size:]
    assert found == sent


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_one_error(data: bytes) -> None:
    parser = control.Parser()
    try:
        for kind, fields in parser.feed(data):
            assert kind in control.REPLY_BYTES_MAX
            assert isinstance(fields, dict)
    except control.ControlError:
        return


@given(st.sampled_from(sorted(control.REPLY_BYTES_MAX)), st.binary(max_size=100))
def test_any_body_is_a_map_or_one_error(kind: int, body: bytes) -> None:
    try:
        ((_, fields),) = control.Parser().feed(frame(kind, body))
    except control.ControlError:
        return
    assert isinstance(fields, dict)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<IBBxx", control.REPLY_BYTES_MAX[control.EXITED] + 1, control.EXITED, 0),
        struct.pack("<IBBxx", 0xFFFFFFFF, control.PREPARE_FAILED, 0),
        struct.pack("<IBBxx", 1, control.PREPARE, 0),
        struct.pack("<IBBxx", 1, 99, 0),
        struct.pack("<IBBxx", 1, control.READY, 1),
    ],
)
def test_a_bad_head_is_refused_before_its_body_comes(head: bytes) -> None:
    with pytest.raises(control.ControlError):
        control.Parser().feed(head)


def test_a_message_beyond_the_limit_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_BYTES_MAX", 100)
    with pytest.raises(control.ControlError, match="at most 100"):
        control.pack(control.PREPARE, {"files": [["a", 420, bytes(200)]]})


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    connection = control.Connection(theirs.detach())
    with ours:
        yield ours, connection
    connection.close()


def send_with_fds(ours: socket.socket, data: bytes, fds: list[int]) -> None:
    socket.send_fds(ours, [data], fds)


def test_descriptors_come_with_their_own_frame(pair) -> None:
    ours, connection = pair
    pipes = [os.pipe() for _ in range(4)]
    for number, (read_end, write_end) in enumerate(pipes[:2]):
        fields = {"id": f"c{number}"}
        data = control.pack(control.FORK, fields, 2)
        send_with_fds(ours, data, [read_end, write_end])
    for number in range(2):
        kind, fields, fds = connection.receive()
        assert (kind, fields) == (control.FORK, {"id": f"c{number}"})
        os.write(fds[1], b"x")
        assert os.read(pipes[number][0], 1) == b"x"
        assert not os.get_inheritable(fds[0])
        for fd in fds:
            os.close(fd)
    for ends in pipes:
        for fd in ends:
            os.close(fd)


def test_the_end_of_the_agent_is_the_end_of_the_stream(pair) -> None:
    ours, connection = pair
    ours.close()
    assert connection.receive() is None


def test_a_frame_without_its_descriptors_is_an_error(pair) -> None:
    ours, connection = pair
    ours.sendall(control.pack(control.FORK, {"id": "c"}, 4))
    with pytest.raises(control.ControlError, match="0 of 4"):
        connection.receive()


def test_a_frame_that_is_cut_off_is_an_error(pair) -> None:
    ours, connection = pair
    ours.sendall(control.pack(control.PREPARE, {"files": []})[:-1])
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(control.ControlError, match="1 bytes before"):
        connection.receive()


def test_replies_reach_the_parser(pair) -> None:
    ours, connection = pair
    connection.send(control.EXITED, {"id": "c", "status": 256})
    assert control.Parser().feed(ours.recv(100)) == [(control.EXITED, {"id": "c", "status": 256})]
    assert values.decode_map(control.pack(control.EXITED, {})[8:]) == {}
