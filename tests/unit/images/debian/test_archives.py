"""Archives of packages: kept by their digests, whatever a step leaves in their place."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from volantd.images.debian.archives import Archive, Archives, parse_wanted

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"an archive"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WANTED = Archive("git_1%3a2.39_amd64.deb", len(CONTENT), DIGEST)


@pytest.fixture
def shelf(tmp_path: Path) -> Archives:
    (tmp_path / "shelf").mkdir()
    return Archives(str(tmp_path / "shelf"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def test_what_apt_wants_is_read_from_its_lines() -> None:
    printed = (
        "Reading package lists...\n"
        f"'http://m.example/git_2.39.deb' {WANTED.name} {WANTED.size} SHA256:{DIGEST}\n"
        f"'http://m.example/a' ../a.deb 5 SHA256:{DIGEST}\n"
        "'http://m.example/b' b.deb 5 MD5Sum:0123\n"
    )
    assert parse_wanted(printed) == [WANTED]


def test_what_was_downloaded_once_is_offered_again(shelf: Archives, target: Path) -> None:
    (target / WANTED.name).write_bytes(CONTENT)
    shelf.keep([WANTED], str(target))
    assert os.listdir(target) == []
    shelf.offer([WANTED], str(target))
    assert (target / WANTED.name).read_bytes() == CONTENT


def test_a_step_cannot_change_what_is_kept(shelf: Archives, target: Path) -> None:
    (target / WANTED.name).write_bytes(CONTENT)
    shelf.keep([WANTED], str(target))
    shelf.offer([WANTED], str(target))
    (target / WANTED.name).write_bytes(b"something else")
    shelf.offer([WANTED], str(target))
    assert (target / WANTED.name).read_bytes() == CONTENT


def test_what_is_not_what_was_wanted_is_not_kept(
    shelf: Archives, target: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(CONTENT)
    names = ["changed.deb", "link.deb", "pipe.deb", "folder.deb", "absent.deb"]
    (target / names[0]).write_bytes(b"something else")
    (target / names[1]).symlink_to(outside)
    os.mkfifo(target / names[2])
    (target / names[3]).mkdir()
    shelf.keep([Archive(name, len(CONTENT), DIGEST) for name in names], str(target))
    shelf.offer([WANTED], str(target))
    assert not (target / WANTED.name).exists()


def test_those_used_longest_ago_go_first(tmp_path: Path, target: Path) -> None:
    contents = [bytes([letter]) * 10 for letter in b"abc"]
    wanted = [
        Archive(f"{content[:1].decode()}.deb", 10, hashlib.sha256(content).hexdigest())
        for content in contents
    ]
    (tmp_path / "shelf").mkdir()
    shelf = Archives(str(tmp_path / "shelf"), bytes_max=20)
    for archive, content in zip(wanted, contents, strict=True):
        (target / archive.name).write_bytes(content)
        os.utime(target / archive.name, (len(content), archive.name.encode()[0]))
    shelf.keep(wanted, str(target))
    shelf.offer(wanted, str(target))
    assert sorted(os.listdir(target)) == ["b.deb", "c.deb"]
