"""Who may speak to the hub at all: who has read the key of its home."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from volant import errors
from volant.channel.key import KEY_NAME, key_frame, make_key
from volant.wire import frames, values

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import World


def control(kind: int, **fields: object) -> bytes:
    return frames.control(kind, values.encode(fields))


KEY = b"k" * 32
FIRST_FRAMES: dict[str, bytes] = {
    "another daemon's key": control(frames.EVENT, op="key", key=KEY),
    "an empty key": control(frames.EVENT, op="key", key=b""),
    "a key that is text": control(frames.EVENT, op="key", key="k" * 32),
    "no key": control(frames.EVENT, op="key"),
    "an event that is no map": frames.control(frames.EVENT, b"\x90"),
    "a request": control(frames.REQUEST, id=0, op="server_stop"),
    "a request with a key": control(frames.REQUEST, id=0, op="server_stop", key=KEY),
    "a call": frames.hot(frames.SUBMIT, frames.OPEN | frames.LAST, 1, 0, 0, 1 << 16, b""),
}


@pytest.mark.parametrize("first", FIRST_FRAMES.values(), ids=FIRST_FRAMES)
def test_a_stranger_is_told_and_let_go(world: World, first: bytes):
    stranger = world.client(key=False, hello=False)
    stranger.send(first + control(frames.REQUEST, id=1, op="server_stop"))
    world.turn()
    assert stranger.broken
    assert not world.services.stopping.is_set()
    if 0 in stranger.replies:
        with pytest.raises(errors.AuthError, match="key"):
            stranger.reply(0)


def test_the_key_opens_whatever_comes_next(world: World):
    client = world.client(key=False, hello=False)
    client.send(key_frame(str(world.home)))
    assert client.request("server_status")["pid"] == os.getpid()


def test_a_key_is_for_its_owner_and_new_each_time(tmp_path: Path):
    first = make_key(str(tmp_path))
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600
    assert make_key(str(tmp_path)) != first
    assert os.listdir(tmp_path) == [KEY_NAME]


def test_who_cannot_read_the_key_shows_an_empty_one(tmp_path: Path):
    _, _, body = frames.FrameReader().feed(key_frame(str(tmp_path)))[0]
    assert values.decode_map(body)["key"] == b""
