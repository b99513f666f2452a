"""Files of sandboxes, read and written from outside: behaviour 125 of the reference."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests import gvisor
from tests.behaviours.shells import shell
from tests.support import same
from volant.errors import (
    ClientClosed,
    ExecutionError,
    InvalidError,
    SandboxFilesystemDirectoryNotEmptyError,
    SandboxFilesystemError,
    SandboxFilesystemFileTooLargeError,
    SandboxFilesystemIsADirectoryError,
    SandboxFilesystemNotADirectoryError,
    SandboxFilesystemNotFoundError,
    SandboxFilesystemPathAlreadyExistsError,
    SandboxFilesystemPermissionError,
)
from volant.sdk.sandboxes.files import filesystem
from volant.types import FileType, FileWatchEventType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("sandbox-files")
#: More than one piece of an exchange, and no multiple of one.
LARGE = os.urandom(1 << 20) * 3 + b"end"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        made = volant.Sandbox.create(app=app)
        yield made
        made.terminate(wait=True)


def test_bytes_and_text_come_back_as_they_were_written(sandbox: volant.Sandbox) -> None:
    """Behaviour 125."""
    files = sandbox.filesystem
    files.write_bytes(LARGE, "/tmp/large")
    assert same(files.read_bytes("/tmp/large"), LARGE)
    files.write_text("grün\n", "/tmp/large")
    assert files.read_text("/tmp/large") == "grün\n"
    assert shell(sandbox, "cat /tmp/large") == "grün\n"
    files.write_bytes(b"", "/tmp/large")
    assert files.read_bytes("/tmp/large") == b""


def test_directories_that_a_file_needs_are_made_and_belong_to_the_sandboxs_user(
    sandbox: volant.Sandbox,
) -> None:
    sandbox.filesystem.write_text("x", "/tmp/made/below/file")
    shown = shell(sandbox, "id -u; stat -c '%u %g %a' /tmp/made /tmp/made/below/file")
    assert shown == "0\n0 0 755\n0 0 644\n"


def test_a_file_is_copied_in_with_its_permissions(sandbox: volant.Sandbox, tmp_path: Path) -> None:
    """Behaviour 125."""
    local = tmp_path / "tool"
    local.write_bytes(b"#!/bin/sh\necho ran\n")
    local.chmod(0o750)
    sandbox.filesystem.copy_from_local(str(local), "/tmp/tools/tool")
    assert shell(sandbox, "stat -c %a /tmp/tools/tool; /tmp/tools/tool") == "750\nran\n"


def test_a_file_is_copied_out_and_replaces_the_local_one_when_it_is_whole(
    sandbox: volant.Sandbox, tmp_path: Path
) -> None:
    """Behaviour 125."""
    files, local = sandbox.filesystem, tmp_path / "made" / "copy"
    files.write_bytes(LARGE, "/tmp/out")
    files.copy_to_local("/tmp/out", str(local))
    assert same(local.read_bytes(), LARGE)
    with pytest.raises(SandboxFilesystemNotFoundError):
        files.copy_to_local("/tmp/none", str(local))
    assert same(local.read_bytes(), LARGE)
    assert [one.name for one in local.parent.iterdir()] == ["copy"]
    files.copy_to_local("/proc/self/status", str(local))  # a file without a size
    assert local.read_text().startswith("Name:")


def test_local_files_that_cannot_be_used_raise_errors_of_this_machine(
    sandbox: volant.Sandbox, tmp_path: Path
) -> None:
    files = sandbox.filesystem
    files.write_text("x", "/tmp/x")
    with pytest.raises(FileNotFoundError):
        files.copy_from_local(str(tmp_path / "none"), "/tmp/y")
    with pytest.raises(IsADirectoryError):
        files.copy_from_local(str(tmp_path), "/tmp/y")
    with pytest.raises(IsADirectoryError):
        files.copy_to_local("/tmp/x", str(tmp_path))
    files.copy_to_local("/tmp/x", os.devnull)
    assert files.read_text("/tmp/x") == "x"


def test_entries_are_listed_by_name(sandbox: volant.Sandbox) -> None:
    """Behaviour 125."""
    files = sandbox.filesystem
    shell(sandbox, "mkdir -p /tmp/listed/b; cd /tmp/listed; echo 12 > a; ln -s a c; mkfifo d")
    found = files.list_files("/tmp/listed")
    assert [(one.name, one.type) for one in found] == [
        ("a", FileType.FILE), ("b", FileType.DIRECTORY), ("c", FileType.SYMLINK),
        ("d", FileType.FIFO),
    ]  # fmt: skip
    assert [one.is_file() for one in found] == [True, False, False, False]
    assert [one.is_dir() for one in found] == [False, True, False, False]
    assert [one.is_symlink() for one in found] == [False, False, True, False]
    assert found[0].path == "/tmp/listed/a"
    assert (found[0].size, found[0].mode, found[0].permissions) == (3, 0o644, "rw-r--r--")
    assert (found[0].owner, found[0].group) == ("root", "root")
    assert (found[0].symlink_target, found[2].symlink_target) == (None, "a")
    assert files.stat("/tmp/listed/a").modified_time == found[0].modified_time
    assert files.stat("/tmp/listed/c").type is FileType.SYMLINK
    assert files.stat("/").name == "/"
    assert files.list_files("/tmp/listed/b") == []


def test_many_entries_are_listed_whatever_their_names(sandbox: volant.Sandbox) -> None:
    names = {f"{number}" for number in range(1200)} | {"new\nline", "\udcff", "grün"}
    script = "import os\nos.mkdir('/tmp/many')\nfor n in {!r}: open('/tmp/many/' + n, 'w').close()"
    assert sandbox.exec("python3", "-c", script.format(names)).wait() == 0
    found = [one.name for one in sandbox.filesystem.list_files("/tmp/many")]
    assert found == sorted(names)
    assert sandbox.filesystem.read_bytes("/tmp/many/\udcff") == b""


def test_a_time_that_no_calendar_has_is_told_as_the_nearest(sandbox: volant.Sandbox) -> None:
    shell(sandbox, "touch -d @99999999999999 /dev/shm/late")
    last = 2261 if gvisor.default_runtime() == "gvisor" else 2400  # it counts nanoseconds
    assert sandbox.filesystem.stat("/dev/shm/late").modified_time.year > last


def test_directories_are_made(sandbox: volant.Sandbox) -> None:
    """Behaviour 125."""
    files = sandbox.filesystem
    files.make_directory("/tmp/new/below")
    files.make_directory("/tmp/new/below")
    assert files.stat("/tmp/new/below").type is FileType.DIRECTORY
    with pytest.raises(SandboxFilesystemPathAlreadyExistsError):
        files.make_directory("/tmp/new", create_parents=False)
    with pytest.raises(SandboxFilesystemNotFoundError):
        files.make_directory("/tmp/newer/below", create_parents=False)
    files.write_text("x", "/tmp/new/file")
    with pytest.raises(SandboxFilesystemPathAlreadyExistsError):
        files.make_directory("/tmp/new/file")
    with pytest.raises(SandboxFilesystemNotADirectoryError):
        files.make_directory("/tmp/new/file/below")


def test_files_and_directories_are_removed(sandbox: volant.Sandbox) -> None:
    """Behaviour 125."""
    files = sandbox.filesystem
    deep = "/tmp/gone" + "/d" * 300
    shell(sandbox, f"mkdir -p {deep} /tmp/stays; echo x > /tmp/stays/x; ln -s /tmp/stays {deep}/l")
    with pytest.raises(SandboxFilesystemDirectoryNotEmptyError):
        files.remove("/tmp/gone")
    files.remove("/tmp/gone", recursive=True)
    with pytest.raises(SandboxFilesystemNotFoundError):
        files.remove("/tmp/gone")
    assert files.read_text("/tmp/stays/x") == "x\n"
    files.remove("/tmp/stays/x")
    files.remove("/tmp/stays/")
    with pytest.raises(InvalidError, match="root directory"):
        files.remove("/", recursive=True)


def test_each_failure_has_its_own_error(sandbox: volant.Sandbox) -> None:
    files = sandbox.filesystem
    files.write_text("x", "/tmp/plain")
    with pytest.raises(SandboxFilesystemNotFoundError, match="`/tmp/none` in the sandbox"):
        files.read_bytes("/tmp/none")
    with pytest.raises(SandboxFilesystemIsADirectoryError):
        files.read_text("/tmp")
    with pytest.raises(SandboxFilesystemIsADirectoryError):
        files.write_text("x", "/tmp")
    with pytest.raises(SandboxFilesystemNotADirectoryError):
        files.write_text("x", "/tmp/plain/below")
    with pytest.raises(SandboxFilesystemNotADirectoryError):
        files.list_files("/tmp/plain")
    with pytest.raises(SandboxFilesystemPermissionError):
        files.write_text("x", "/sys/devices/system/x")
    shell(sandbox, "ln -sfn /tmp/loop /tmp/loop")
    with pytest.raises(SandboxFilesystemError, match="too many levels"):
        files.read_bytes("/tmp/loop")


@pytest.mark.parametrize("path", ["relative", "", "~/x", "/a\0b", "/" + "x" * 4096, 7, None])
def test_what_is_no_absolute_path_is_refused_before_anything_is_asked(
    sandbox: volant.Sandbox, path: Any
) -> None:
    """Behaviour 125."""
    files = sandbox.filesystem
    for ask in (files.read_bytes, files.list_files, files.stat, files.make_directory, files.remove):
        with pytest.raises(InvalidError, match="path"):
            ask(path)
    with pytest.raises(InvalidError, match="path"):
        files.write_text("x", path)
    with pytest.raises(InvalidError, match="path"):
        files.copy_to_local(path, "/nowhere/x")


def test_what_is_no_content_is_refused(sandbox: volant.Sandbox) -> None:
    with pytest.raises(InvalidError, match="takes bytes, got a str"):
        sandbox.filesystem.write_bytes("text", "/tmp/x")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="takes a string, got a bytes"):
        sandbox.filesystem.write_text(b"bytes", "/tmp/x")  # type: ignore[arg-type]


def test_a_read_into_memory_has_a_limit(sandbox: volant.Sandbox) -> None:
    shell(sandbox, f"truncate -s {filesystem.READ_BYTES_MAX + 1} /tmp/sparse")
    with pytest.raises(SandboxFilesystemFileTooLargeError):
        sandbox.filesystem.read_bytes("/tmp/sparse")
    sandbox.filesystem.remove("/tmp/sparse")


def test_everything_can_be_awaited_side_by_side(sandbox: volant.Sandbox) -> None:
    async def use() -> list[str]:
        files = sandbox.filesystem
        names = [f"/tmp/awaited/{number}" for number in range(20)]
        await asyncio.gather(*(files.write_text.aio(name, name) for name in names))
        return list(await asyncio.gather(*(files.read_text.aio(name) for name in names)))

    assert asyncio.run(use()) == [f"/tmp/awaited/{number}" for number in range(20)]


# -- watching


def test_a_watch_tells_what_happens_below_a_directory(sandbox: volant.Sandbox) -> None:
    async def use() -> dict[FileWatchEventType, set[str]]:
        files = sandbox.filesystem
        await files.make_directory.aio("/tmp/watched")
        told: dict[FileWatchEventType, set[str]] = {kind: set() for kind in FileWatchEventType}
        events = files.watch.aio("/tmp/watched", recursive=True)
        waiting = asyncio.ensure_future(anext(events))
        while not waiting.done():  # the first that comes after it has begun
            await files.write_text.aio("x", "/tmp/watched/new/file")
            await files.remove.aio("/tmp/watched/new", recursive=True)
        # Once more: the first event may have been that of a removal.
        await files.write_text.aio("x", "/tmp/watched/new/file")
        await files.remove.aio("/tmp/watched/new", recursive=True)
        await files.write_text.aio("x", "/tmp/watched/last")
        one = await waiting
        while "/tmp/watched/last" not in one.paths:
            told[one.type].update(one.paths)
            one = await anext(events)
        await events.aclose()
        return told

    told = asyncio.run(use())
    assert "/tmp/watched/new" in told[FileWatchEventType.Create]
    assert "/tmp/watched/new" in told[FileWatchEventType.Remove]
    assert told[FileWatchEventType.Unknown] == set()


def test_a_watch_ends_with_its_time_or_with_what_is_watched(sandbox: volant.Sandbox) -> None:
    files = sandbox.filesystem
    assert list(files.watch("/tmp", filter=[FileWatchEventType.Remove], timeout=0.01)) == []
    with pytest.raises(SandboxFilesystemNotFoundError):
        next(files.watch("/tmp/none", timeout=1))

    async def use() -> list[FileWatchEventType]:
        await files.write_text.aio("x", "/tmp/only")
        events = files.watch.aio("/tmp/only")
        first = asyncio.ensure_future(anext(events))
        while not first.done():  # the first that comes after it has begun
            await files.write_text.aio("x", "/tmp/only")
        await files.remove.aio("/tmp/only")
        return [one.type async for one in events]

    assert FileWatchEventType.Remove in asyncio.run(use())


# -- ends


def test_a_detached_handle_and_a_finished_sandbox_say_so(sandbox: volant.Sandbox) -> None:
    other = volant.Sandbox.from_id(sandbox.object_id)
    kept = other.filesystem
    assert kept.read_bytes("/etc/hosts")
    other.detach()
    with pytest.raises(ClientClosed):
        kept.read_bytes("/etc/hosts")
    ended = volant.Sandbox.create("true", app=app)
    ended.wait()
    with pytest.raises(ExecutionError, match="has finished"):
        ended.filesystem.read_bytes("/etc/hosts")
