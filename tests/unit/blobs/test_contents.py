"""Contents by their hash: small ones together, large ones as files, and what nothing names."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from volantd.blobs.contents import Contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def named(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest(), data


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    made = Contents(str(tmp_path / "contents"))
    yield made
    made.close()


def large(contents: Contents, data: bytes) -> str:
    digest, _ = named(data)
    fd, path = contents.unfinished()
    os.write(fd, data)
    os.close(fd)
    contents.finish(path, digest)
    return digest


def test_what_was_put_is_there_in_another_life(contents: Contents, tmp_path: Path) -> None:
    rows = [named(bytes([number]) * number) for number in range(1, 200)]
    contents.put(rows)
    digest = large(contents, b"large")
    other = Contents(str(tmp_path / "contents"))
    assert all(other.get(name) == data for name, data in rows)
    assert other.claim([digest, rows[0][0]], is_large=True) == {digest}
    assert (tmp_path / "contents/small.db").stat().st_mode & 0o777 == 0o600
    other.close()


def test_nothing_is_made_before_something_is_put(contents: Contents, tmp_path: Path) -> None:
    assert not contents.exists
    assert contents.claim(["a" * 64]) == set()
    assert not (tmp_path / "contents").exists()


def test_a_sweep_takes_what_is_not_named(contents: Contents) -> None:
    kept, gone = named(b"kept"), named(b"gone")
    contents.put([kept, gone])
    files = [large(contents, b"kept file"), large(contents, b"gone file")]
    before = contents.begin_sweep()
    assert contents.sweep(before, {kept[0], files[0]}) == 2
    assert contents.get(kept[0]) == b"kept"
    assert contents.get(gone[0]) is None
    assert [os.path.exists(contents.path(one)) for one in files] == [True, False]


def test_what_was_claimed_since_a_sweep_began_stays(contents: Contents) -> None:
    claimed, again, gone = named(b"claimed"), named(b"put again"), named(b"gone")
    contents.put([claimed, again, gone])
    file = large(contents, b"file")
    before = contents.begin_sweep()
    contents.claim([claimed[0]])
    contents.claim([file], is_large=True)
    contents.put([again, named(b"new")])
    assert contents.sweep(before, set()) == 1
    assert contents.get(gone[0]) is None
    assert os.path.exists(contents.path(file))


def test_what_a_killed_daemon_left_is_removed(contents: Contents, tmp_path: Path) -> None:
    digest = large(contents, b"kept")
    fd, unfinished = contents.unfinished()
    os.close(fd)
    unknown = contents.path("b" * 64)  # it died between the file and its row
    os.makedirs(os.path.dirname(unknown), exist_ok=True)
    os.link(contents.path(digest), unknown)
    other = Contents(str(tmp_path / "contents"))
    other.clean()
    assert not os.path.exists(unfinished)
    assert not os.path.exists(unknown)
    assert os.path.exists(other.path(digest))
    other.close()
