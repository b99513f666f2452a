"""Contents as files named by their hash."""

from __future__ import annotations

import hashlib
import os
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
    contents = BlobFiles(str(tmp_path / "blobs"))  # the next daemon's
    assert contents.remove_all_but([_digest(b"kept")]) == 2
    assert contents.has(_digest(b"kept"))
    assert not contents.has(_digest(b"gone"))
    assert BlobFiles(str(tmp_path / "nowhere")).remove_all_but([]) == 0


def test_what_was_asked_for_meanwhile_is_not_removed(tmp_path: Path):
    """A deployment that counts on a content may come before all versions were read."""
    before = BlobFiles(str(tmp_path / "blobs"))
    before.put(_digest(b"found"), b"found")
    before.put(_digest(b"gone"), b"gone")
    contents = BlobFiles(str(tmp_path / "blobs"))
    assert contents.has(_digest(b"found"))
    contents.put(_digest(b"new"), b"new")
    assert contents.remove_all_but([]) == 1
    assert contents.has(_digest(b"found"))
    assert contents.has(_digest(b"new"))
