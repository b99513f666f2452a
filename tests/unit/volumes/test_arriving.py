"""Contents that clients send: only what is lacking, and nothing but what its hash says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volant.errors import InvalidError
from volant.wire import chunks
from volantd.blobs.contents import Contents
from volantd.volumes.arriving import ARRIVING_MAX, Arriving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def arriving(tmp_path: Path) -> Iterator[Arriving]:
    contents = Contents(str(tmp_path / "contents"))
    made = Arriving(contents)
    made.contents = contents  # type: ignore[attr-defined]  # for the tests below
    yield made
    made.close()
    contents.close()


def parts_of(data: bytes) -> list[bytes]:
    size = chunks.CHUNK_BYTES
    return [data[at : at + size] for at in range(0, len(data), size)]


def content(*marks: bytes) -> bytes:
    """A content of chunks that begin with marks; the last one is not whole."""
    size = chunks.CHUNK_BYTES
    whole = b"".join(mark + bytes(size - len(mark)) for mark in marks[:-1])
    return whole + marks[-1] * 100_000


def send(arriving: Arriving, data: bytes, like: str | None = None) -> tuple[str, list[int]]:
    pieces = parts_of(data)
    digest, lacking = arriving.begin(len(data), [chunks.digest_of(one) for one in pieces], like)
    for index in lacking:
        arriving.add(digest, index, pieces[index])
    return digest, lacking


def test_only_chunks_that_are_lacking_are_asked_for(arriving: Arriving) -> None:
    first = content(b"a", b"b", b"c", b"e")
    digest, lacking = send(arriving, first)
    assert lacking == [0, 1, 2, 3]
    path = arriving.contents.path(digest)  # type: ignore[attr-defined]
    with open(path, "rb") as file:
        assert file.read() == first
    assert send(arriving, first)[1] == []
    second = content(b"a", b"", b"X", b"b", b"e")  # one of zeros, one new, one elsewhere
    other, lacking = send(arriving, second, like=digest)
    assert lacking == [2]
    with open(arriving.contents.path(other), "rb") as file:  # type: ignore[attr-defined]
        assert file.read() == second


def test_what_is_known_by_a_hash_is_the_same_whoever_finds_it(
    arriving: Arriving, tmp_path: Path
) -> None:
    data = content(b"a", b"", b"b")
    digest, _ = send(arriving, data)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        assert chunks.digest_of_file(file.fileno(), len(data))[0] == digest


@pytest.mark.parametrize("data", [b"", b"wrong", b"a" + bytes(chunks.CHUNK_BYTES - 1)])
def test_a_chunk_that_is_not_what_its_hash_says_is_refused(arriving: Arriving, data: bytes) -> None:
    pieces = parts_of(content(b"x", b"y"))
    size = sum(map(len, pieces))
    digest, _ = arriving.begin(size, [chunks.digest_of(one) for one in pieces], None)
    with pytest.raises(InvalidError):
        arriving.add(digest, 0, data)
    with pytest.raises(InvalidError):
        arriving.add(digest, 7, pieces[0])
    with pytest.raises(InvalidError):
        arriving.add("a" * 64, 0, pieces[0])


def test_a_file_is_taken_whole_and_checked(arriving: Arriving, tmp_path: Path) -> None:
    data = content(b"a", b"b")
    (tmp_path / "file").write_bytes(data)
    pieces = parts_of(data)
    digest, lacking = arriving.begin(len(data), [chunks.digest_of(one) for one in pieces], None)
    assert lacking
    with (tmp_path / "file").open("r+b") as file:
        arriving.take(digest, file.fileno())
        assert arriving.begin(len(data), [chunks.digest_of(one) for one in pieces], None)[1] == []
        twice = [chunks.digest_of(one) for one in pieces * 2]
        other, _ = arriving.begin(2 * len(data), twice, None)
        with pytest.raises(InvalidError):
            arriving.take(other, file.fileno())
    read, write = os.pipe()
    with pytest.raises(InvalidError, match="no file"):
        arriving.take(other, read)
    os.close(read)
    os.close(write)


def test_small_contents_are_checked(arriving: Arriving) -> None:
    good, digest = b"good", chunks.digest_of(b"good")
    arriving.store(memoryview(good), [(digest, 4)])
    with pytest.raises(InvalidError):
        arriving.store(memoryview(b"bad!"), [(digest, 4)])
    large = bytes(chunks.SMALL_BYTES + 1)
    with pytest.raises(InvalidError):
        arriving.store(memoryview(large), [(chunks.digest_of(large), len(large))])


def test_what_nobody_goes_on_with_gives_way(arriving: Arriving, tmp_path: Path) -> None:
    for number in range(ARRIVING_MAX + 10):
        arriving.begin(chunks.SMALL_BYTES + 1, [f"{number:064x}"], None)
    unfinished = [one for one in os.listdir(tmp_path / "contents/large") if one.startswith("new-")]
    assert len(unfinished) == ARRIVING_MAX
