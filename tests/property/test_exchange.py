"""What comes from a sandbox against anything: contents come back, and strangers make one error."""

from __future__ import annotations

import _socket
import os
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from volant.errors import InvalidError, SandboxFilesystemError
from volant.sdk.sandboxes.files.exchanging import Work, refused
from volant.sdk.sandboxes.files.filesystem import PATH_BYTES_MAX, checked_path
from volant.sdk.sandboxes.files.info import entry_of, events_of
from volant.wire import values
from volant.wire.exchange import DATA, END, MAP, Exchange, ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterator

anything = st.recursive(
    st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9) | st.binary(max_size=9)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)  # fmt: skip


@contextmanager
def _pair() -> Iterator[tuple[Exchange, Exchange]]:
    ours, theirs = (Exchange(one) for one in _socket.socketpair())
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


def _take_all(exchange: Exchange) -> None:
    while True:
        exchange.receive_content(lambda view: None)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_contents_come_back_in_their_order(contents: list[bytes]):
    with _pair() as (ours, theirs):
        got: list[bytes] = []
        for content in contents:
            ours.send_bytes(content)
            kept = BytesIO()
            assert theirs.receive_content(kept.write) == {}
            got.append(kept.getvalue())
        assert got == contents


@given(st.lists(st.tuples(st.sampled_from([MAP, DATA, END, b"X"]), st.binary(max_size=40))))
def test_a_stranger_makes_one_kind_of_error(frames: list[tuple[bytes, bytes]]):
    with _pair() as (ours, theirs):
        for kind, body in frames:
            theirs.socket.sendall(kind + len(body).to_bytes(4, "little") + body)
        theirs.close()
        with suppress(ExchangeError):
            _take_all(ours)


@given(st.sampled_from([MAP, DATA, END, b"X"]), st.integers(0, (1 << 32) - 1))
def test_a_length_makes_nothing_before_it_is_judged(kind: bytes, size: int):
    with _pair() as (ours, theirs):
        theirs.socket.sendall(kind + size.to_bytes(4, "little"))
        theirs.close()
        with pytest.raises(ExchangeError):
            _take_all(ours)


@given(anything)
def test_what_is_no_entry_or_event_is_refused(told: object):
    told = values.decode(values.encode(told))
    with suppress(ExchangeError):
        found = entry_of("/a", told, is_listed=True)
        assert found.path.startswith("/a/")
        assert found.name not in {"", ".", ".."}
    with suppress(ExchangeError):
        events_of(told)


@given(st.tuples(
    st.text(max_size=9), st.text(max_size=9), st.integers(-9, 1 << 63), st.integers(-9, 1 << 63),
    st.floats() | st.integers(-(1 << 63), 1 << 63), st.text(max_size=9), st.text(max_size=9),
    st.none() | st.text(max_size=9),
))  # fmt: skip
def test_an_entry_of_the_right_kinds_is_shown_or_refused(told: tuple[object, ...]):
    with suppress(ExchangeError):
        found = entry_of("/a", list(told), is_listed=True)
        assert "/" not in found.name
        assert len(found.permissions) == 9


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_any_number_of_an_error_is_one_of_files(number: int):
    with _pair() as (ours, theirs):
        theirs.send({"errno": number})
        with pytest.raises(SandboxFilesystemError, match="/path"):
            Work(ours, "/path", lambda exchange: refused(exchange.receive())).blocking()


@given(st.text(st.characters(codec=None), max_size=60) | st.binary(max_size=60))
def test_a_path_is_absolute_or_refused(path: object):
    try:
        found = checked_path(path)
    except InvalidError:
        assert not (isinstance(path, str) and path.startswith("/") and "\0" not in path
                    and _is_encodable(path))  # fmt: skip
    else:
        assert found == path
        assert len(os.fsencode(found)) < PATH_BYTES_MAX


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
