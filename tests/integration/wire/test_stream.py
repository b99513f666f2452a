"""Frames and descriptors over a real socket pair."""

from __future__ import annotations

import array
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import same
from volant.wire import frames, values
from volant.wire.stream import FDS_PER_READ_MAX, FDS_WAITING_MAX, FrameStream

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = frames.control(frames.EVENT, b"\x80")


@pytest.fixture
def streams() -> Iterator[tuple[FrameStream, FrameStream]]:
    before = len(os.listdir("/proc/self/fd"))
    left, right = socket.socketpair()
    pair = FrameStream(left), FrameStream(right)
    yield pair
    for stream in pair:
        stream.close()
    assert len(os.listdir("/proc/self/fd")) == before


def marked_file(mark: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, mark)
    return fd


def content(fd: int) -> bytes:
    try:
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def test_descriptors_arrive_in_the_order_of_their_frames(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    for number in range(20):
        fd = marked_file(b"%d" % number)
        theirs.send(frames.hot(frames.RESULT, frames.HAS_FD, number, 0, 0, 0, b""), fd)
        os.close(fd)
        theirs.send(EVENT)
    received: list[int] = []
    while len(received) < 20:
        for kind, flags, body in ours.receive() or ():
            if flags & frames.HAS_FD:
                number = frames.HOT.unpack_from(body)[0]
                assert content(ours.take_fd()) == b"%d" % number
                received.append(number)
            else:
                assert kind == frames.EVENT
    assert received == list(range(20))


def test_a_received_descriptor_is_not_inherited(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    fd = marked_file(b"x")
    theirs.send(EVENT, fd)
    os.close(fd)
    assert ours.receive() == [(frames.EVENT, 0, b"\x80")]
    assert not os.get_inheritable(ours.fds[0])


def test_a_frame_larger_than_the_socket_is_sent_whole_with_its_descriptor(
    streams: tuple[FrameStream, FrameStream],
):
    ours, theirs = streams
    frame = frames.control(frames.EVENT, os.urandom(4 << 20))
    fd = marked_file(b"beside it")
    sender = threading.Thread(target=lambda: (theirs.send(frame, fd), theirs.send(frame)))
    sender.start()
    received: list[tuple[int, int, bytes]] = []
    while len(received) < 2:
        received += ours.receive() or ()
    sender.join()
    os.close(fd)
    assert len(received) == 2
    assert all(same(body, frame[6:]) for _, _, body in received)
    assert content(ours.take_fd()) == b"beside it"


def test_an_announced_descriptor_that_did_not_come_is_a_value_error(
    streams: tuple[FrameStream, FrameStream],
):
    with pytest.raises(ValueError, match="did not come"):
        streams[0].take_fd()


def test_a_send_that_a_signal_cut_short_goes_on():
    class CutShort:
        """The kernel sends only a part when a signal comes in between."""

        sent = b""

        def sendmsg(self, parts: list[bytes], _ancillary: object) -> int:
            self.sent += parts[0][:4]
            return 4

        def sendall(self, data: memoryview) -> None:
            self.sent += data

    sock = CutShort()
    FrameStream(sock).send(EVENT, 0)  # type: ignore[arg-type]  # as much of a socket as it needs
    assert sock.sent == EVENT


def test_the_end_of_the_stream_is_none(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    assert ours.receive_nowait() == []
    theirs.close()
    assert ours.receive() is None
    assert ours.receive_nowait() is None


def test_the_ancillary_data_of_others_is_left_alone(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    theirs.send(EVENT)
    assert ours.receive() == [(frames.EVENT, 0, b"\x80")]
    assert not ours.fds


def test_descriptors_nobody_took_are_closed_with_the_stream(
    streams: tuple[FrameStream, FrameStream],
):
    ours, theirs = streams
    read, write = os.pipe()
    theirs.send(EVENT, write)
    os.close(write)
    ours.receive()
    ours.close()
    assert os.read(read, 1) == b"", "its last copy is closed"
    os.close(read)


def test_descriptors_without_frames_end_the_stream(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    rights = array.array("i", [0] * 16)
    for _ in range(FDS_WAITING_MAX // 16):
        theirs.sock.sendmsg([EVENT], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        assert ours.receive() is not None
    theirs.sock.sendmsg([EVENT], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    with pytest.raises(ValueError, match="belong to no frame"):
        ours.receive()


def test_lost_descriptors_are_an_error_and_no_mix_up(streams: tuple[FrameStream, FrameStream]):
    ours, theirs = streams
    rights = array.array("i", [0] * (FDS_PER_READ_MAX + 1))
    theirs.sock.sendmsg([EVENT], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    with pytest.raises(OSError, match="were lost"):
        ours.receive()


def test_streams_of_one_thread_may_share_their_buffer():
    shared = bytearray(1024)
    left, right = socket.socketpair()
    ours, theirs = FrameStream(left, shared), FrameStream(right, shared)
    theirs.send(frames.control(frames.EVENT, b"x" * 5000))
    received: list[tuple[int, int, bytes]] = []
    while not received:
        received += ours.receive() or ()
    assert received == [(frames.EVENT, 0, b"x" * 5000)]
    ours.close()
    theirs.close()


def released(received: list[tuple[int, int, bytes]] | None) -> dict[str, object]:
    assert received is not None
    kind, _, body = received[0]
    assert kind == frames.EVENT
    return values.decode_map(body)


def test_files_that_were_let_go_of_travel_with_the_next_frame(
    streams: tuple[FrameStream, FrameStream],
) -> None:
    left, right = streams
    left.releases.extend([(1, True), (2, False), (3, True)])
    left.send(EVENT)
    received = right.receive()
    assert received is not None
    assert len(received) == 2, "one frame about the files, before the one that was sent"
    assert released(received) == {"op": "released", "tokens": [1, 3], "lost": [2]}
    left.send(EVENT)
    assert right.receive() == [(frames.EVENT, 0, b"\x80")], "they are told of once"


def test_files_that_were_let_go_of_can_be_told_of_alone(
    streams: tuple[FrameStream, FrameStream],
) -> None:
    left, right = streams
    left.send_releases()
    assert right.receive_nowait() == []
    left.releases.append((7, True))
    left.send_releases()
    assert released(right.receive()) == {"op": "released", "tokens": [7], "lost": []}
