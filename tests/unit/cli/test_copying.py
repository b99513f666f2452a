"""What comes out of a sandbox is written nowhere but where somebody wants it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from volant.cli.commands.sandbox.copying import Copy, _split, _stays_inside
from volant.cli.failures import Refused
from volant.sdk.sandboxes.files.info import FileInfo, FileType

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Hostile:
    """The files of a sandbox that says of them what it likes."""

    def __init__(self, *entries: tuple[str, FileType, str | None]) -> None:
        self._entries = entries

    def stat(self, path: str) -> FileInfo:
        return self._info(path, FileType.DIRECTORY, None)

    def list_files(self, path: str) -> list[FileInfo]:
        if path != "/out":
            return []
        return [self._info(f"/out/{name}", kind, target) for name, kind, target in self._entries]

    @staticmethod
    def _info(path: str, kind: FileType, target: str | None) -> FileInfo:
        return FileInfo(
            name=path.rpartition("/")[2], path=path, type=kind, size=1, mode=0o644,
            permissions="rw-r--r--", owner="root", group="root", modified_time=NOW,
            symlink_target=target,
        )  # fmt: skip

    def _do(self, path: str, does: object) -> None:
        raise AssertionError(f"{path} is copied")


@pytest.mark.parametrize("second", [FileType.FILE, FileType.DIRECTORY])
def test_a_name_that_is_a_link_and_something_else_writes_through_no_link(
    tmp_path: Path, second: FileType
) -> None:
    (tmp_path / "inside").mkdir()
    files = Hostile(("x", FileType.SYMLINK, "inside"), ("x", second, None))
    with pytest.raises((Refused, FileExistsError)):
        Copy(files).out("/out", str(tmp_path))
    found = tmp_path / "out"
    assert [one.name for one in found.iterdir()] == ["x"]
    assert list((tmp_path / "inside").iterdir()) == []


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "..", "a/../..", "../../x", "", None, "a/../../b", "./..", "a/../b"]
)
def test_a_link_that_leads_out_is_left_out(tmp_path: Path, target: str | None) -> None:
    copy = Copy(Hostile(("x", FileType.SYMLINK, target), ("s", FileType.SOCKET, None)))
    copy.out("/out", str(tmp_path))
    assert copy.left_out == ["/out/x", "/out/s"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_to_what_is_copied_is_kept() -> None:
    assert _stays_inside("a/b", 0)
    assert _stays_inside("../a", 1)
    assert _stays_inside("./../../a", 2)
    assert not _stays_inside("../a", 0)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("sb-1:/a", ("sb-1", "/a")), ("name:/", ("name", "/")), ("./a:/b", None), ("a", None),
        ("a:b", None), (":/a", None), ("/x:/a", None), ("sb-1:/a:b", ("sb-1", "/a:b")),
    ],
)  # fmt: skip
def test_a_place_in_a_sandbox_is_told_from_one_here(word: str, found: object) -> None:
    assert _split(word) == found
