"""Contents that are passed on by the kernel, and what cuts them short."""

from __future__ import annotations

import _socket
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import same
from volant.wire.exchange import PIECE_BYTES, Exchange, ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT = os.urandom(PIECE_BYTES * 2 + 17)


@pytest.fixture
def ends() -> Iterator[tuple[Exchange, Exchange]]:
    ours, theirs = (Exchange(one) for one in _socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def _beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_file_arrives_as_it_is(ends: tuple[Exchange, Exchange], tmp_path: Path):
    ours, theirs = ends
    (tmp_path / "from").write_bytes(CONTENT)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("wb") as target:
        sending = _beside(lambda: ours.send_file(source.fileno()))
        assert theirs.receive_file(target.fileno(), whole=False) == {}
        sending.join()
    assert same((tmp_path / "to").read_bytes(), CONTENT)


def test_a_file_that_becomes_shorter_is_made_up_and_told(
    ends: tuple[Exchange, Exchange], tmp_path: Path
):
    ours, theirs = ends
    (tmp_path / "from").write_bytes(CONTENT)
    failed: list[OSError] = []

    def send() -> None:
        with (tmp_path / "from").open("r+b") as source:
            try:
                os.truncate(source.fileno(), 5)
                ours._pass_on(source.fileno(), 9)
            except OSError as error:
                failed.append(error)
                ours.send({"errno": error.errno})

    sending = _beside(send)
    room = bytearray(9)
    theirs._fill(memoryview(room))
    assert theirs.receive() == {"errno": errno.ESTALE}
    sending.join()
    assert bytes(room) == CONTENT[:5] + bytes(4)


def test_a_content_that_cannot_be_written_is_taken_to_its_end(ends: tuple[Exchange, Exchange]):
    ours, theirs = ends
    full = os.open("/dev/full", os.O_WRONLY)
    sending = _beside(lambda: ours.send_bytes(CONTENT))
    with pytest.raises(OSError, match="No space"):
        theirs.receive_file(full, whole=True)
    sending.join()
    ours.send({"next": 1})
    assert theirs.receive() == {"next": 1}
    os.close(full)


def test_the_end_of_the_other_end_is_an_error(ends: tuple[Exchange, Exchange]):
    ours, theirs = ends
    theirs.shutdown()
    assert theirs.is_closed
    with pytest.raises(ExchangeError, match="gone"):
        ours.receive()
    with pytest.raises(BrokenPipeError):
        ours.send_bytes(b"x")
