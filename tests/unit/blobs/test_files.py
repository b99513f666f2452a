"""Contents as files named by their hash."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from volantd.blobs import files
from volantd.blobs.files import BlobFiles

if TYPE_CHECKING:
    from pathlib import Path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"", b"small", b"large" * files.READ_BYTES_MAX])
def test_what_was_put_is_there_again(content: bytes, tmp_path: Path):
    contents, digest = BlobFiles(str(tmp_path / "blobs")), _digest(content)
    assert contents.get(digest) is None
    assert not contents.has(digest)
    contents.put(digest, content)
    contents.put(digest, content)
    found = contents.get(digest)
    assert found is not None
    assert bytes(found) == content
    again = BlobFiles(str(tmp_path / "blobs"))
    assert again.has(digest)


def test_nobody_else_may_read_them(tmp_path: Path):
    contents, digest = BlobFiles(str(tmp_path / "blobs")), _digest(b"secret")
    contents.put(digest, b"secret")
    [path] = (tmp_path / "blobs" / digest[:2]).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch):
    contents, digest = BlobFiles(str(tmp_path / "blobs")), _digest(b"x")
    contents.put(_digest(b"before"), b"before")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        contents.put(digest, b"x")
    assert list((tmp_path / "blobs" / digest[:2]).iterdir()) == []


def test_what_nothing_names_is_removed_with_what_was_never_finished(tmp_path: Path):
    contents = BlobFiles(str(tmp_path / "blobs"))
    for content in (b"kept", b"gone"):
        contents.put(_digest(content), content)
    (tmp_path / "blobs" / _digest(b"kept")[:2] / "new-abc").write_bytes(b"half")
    assert contents.remove_all_but([_digest(b"kept")], time.time() - 60) == 0, "too new"
    assert contents.remove_all_but([_digest(b"kept")], time.time() + 60) == 2
    assert contents.has(_digest(b"kept"))
    assert not contents.has(_digest(b"gone"))
    assert BlobFiles(str(tmp_path / "nowhere")).remove_all_but([], time.time()) == 0


def test_a_content_that_is_put_again_counts_as_new(tmp_path: Path):
    contents = BlobFiles(str(tmp_path / "blobs"))
    contents.put(_digest(b"x"), b"x")
    path = tmp_path / "blobs" / _digest(b"x")[:2] / _digest(b"x")
    os.utime(path, (1.0, 1.0))
    contents.put(_digest(b"x"), b"x")
    assert contents.remove_all_but([], time.time() - 60) == 0
    os.utime(path, (1.0, 1.0))
    assert contents.remove_all_but([], time.time() - 60) == 1


def test_a_file_is_kept_under_the_hash_of_what_was_read(tmp_path: Path):
    contents = BlobFiles(str(tmp_path / "blobs"))
    given = tmp_path / "given"
    given.write_bytes(b"y" * (3 << 20))
    with given.open("rb") as file:
        file.seek(7)  # where it stands does not matter
        digest = contents.put_file(file.fileno())
        assert contents.put_file(file.fileno()) == digest
    assert digest == _digest(b"y" * (3 << 20))
    assert bytes(contents.get(digest) or b"") == b"y" * (3 << 20)
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [digest[:2]]
