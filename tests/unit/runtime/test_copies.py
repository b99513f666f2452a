"""What is done by hand when a sandbox is copied: files, images of CRIU, its log."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from pathlib import Path
from struct import pack

import pytest
from hypothesis import example, given, strategies

from volantd.agent.sandboxes.copies.program import least_version
from volantd.agent.sandboxes.copies.taking import PID_FIRST, PIDS_FREE, free_pid
from volantd.runtime.copies import criu, images
from volantd.runtime.copies.filling import DEPTH_MAX, Filling
from volantd.runtime.copies.restored import RestoredProgram
from volantd.runtime.sandboxes.holder import RunSpec

MAGIC = b"\x01\x02\x03\x04\x05\x06\x07\x08"
#: Ids of a process: the tenth is that of its user namespace; the last one has two bytes.
IDS = bytes([0x08, 2, 0x48, 6, 0x50, 9, 0x58, 0x80, 0x02])


def _image(*parts: bytes) -> bytes:
    return MAGIC + b"".join(pack("<I", len(part)) + part for part in parts)


def _nested(number: int, inside: bytes) -> bytes:
    return bytes([number << 3 | 2, len(inside)]) + inside


def test_processes_are_put_into_the_user_namespace_of_criu(tmp_path: Path) -> None:
    inventory = bytes([0x08, 1]) + _nested(3, bytes([0x48, 6, 0x50, 0x87, 0x01])) + b"\x2d1234"
    (tmp_path / "inventory.img").write_bytes(_image(inventory))
    (tmp_path / "ids-3.img").write_bytes(_image(IDS))
    (tmp_path / "core-3.img").write_bytes(b"as it is")
    images.settle(str(tmp_path))
    changed = bytes([0x08, 2, 0x48, 6, 0x50, 0x87, 0x01, 0x58, 0x80, 0x02])
    assert (tmp_path / "ids-3.img").read_bytes() == _image(changed)
    assert (tmp_path / "inventory.img").read_bytes() == _image(inventory)
    assert (tmp_path / "core-3.img").read_bytes() == b"as it is"


@given(strategies.binary(max_size=40))
@example(b"U\0\0\0\0")  # the field that is changed, of another kind
def test_images_that_are_none_are_an_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    place = tmp_path_factory.mktemp("images")
    (place / "inventory.img").write_bytes(_image(_nested(3, bytes([0x50, 7]))))
    (place / "ids-3.img").write_bytes(_image(data))
    try:
        images.settle(str(place))
    except ValueError:
        return
    images.settle(str(place))  # what was written can be read again


def test_the_log_says_why(tmp_path: Path) -> None:
    (tmp_path / "dump.log").write_text(
        "(00.1) Error (criu/rlimit.c:1): rlimit: Can't setup RLIMIT_NOFILE\n"
        "(00.2) a line\n(00.3) Error (criu/tty.c:2): tty: a reason\n(00.4) Error (x.c:3): another\n"
    )
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert criu.reason(fd, "dump") == "tty: a reason"
        assert criu.reason(fd, "restore") == ""
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("release", "wanted"),
    [("6.18.44-x", (4, 2)), ("6.16", (4, 2)), ("6.12.1", (4, 1)), ("odd", (4, 1))],
)
def test_newer_kernels_need_newer_versions(release: str, wanted: tuple[int, int]) -> None:
    assert least_version(release) == wanted


@given(strategies.sets(strategies.integers(1, 1 << 22), max_size=60))
def test_ids_behind_the_last_one_are_free(used: set[int]) -> None:
    last = free_pid(used)
    assert last >= PID_FIRST
    assert not used & set(range(last + 1, last + PIDS_FREE + 1))


def test_criu_is_found_with_its_loader_and_libraries(tmp_path: Path) -> None:
    assert criu.find(str(tmp_path)) is None
    for name in ("usr/sbin/criu", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = criu.find(str(tmp_path))
    assert found is not None
    libraries = str(tmp_path / "usr/lib/x86_64-linux-gnu")
    assert found.as_fields() == {
        "loader": f"{libraries}/ld-linux-x86-64.so.2", "path": str(tmp_path / "usr/sbin/criu"),
        "libraries": [libraries, str(tmp_path / "usr/lib")],
    }  # fmt: skip


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_how_a_process_ended_that_is_no_child_is_told(end: str) -> None:
    reads, writes = os.pipe()
    # Its parent takes its status; to this process it is as what was restored.
    script = "exec 3<&0; sh -c 'echo $$; read _ <&3; exit 3' & wait"
    parent = subprocess.Popen(
        ["sh", "-c", script], stdin=reads, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    spec = RunSpec(argv=(), env={}, cwd=None, makes_cwd=False, terminal=None)

    async def watch() -> tuple[int, bool]:
        program = RestoredProgram(pid, spec, [])
        if end == "is killed":
            os.kill(pid, signal.SIGKILL)
        else:
            os.write(writes, b"\n")
        return await program.exited, program.was_cut_off

    status, is_unknown = asyncio.run(watch())
    for fd in (reads, writes):
        os.close(fd)
    parent.communicate()
    if is_unknown:
        pytest.skip("this kernel does not tell how others ended")
    assert os.waitstatus_to_exitcode(status) == (-9 if end == "is killed" else 3)


# -- files


def _fill(source: Path, target: Path, *leave_out: str) -> None:
    ends = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    try:
        Filling(ends[1], os.getuid(), os.getuid()).add(ends[0], leave_out)
    finally:
        for fd in ends:
            os.close(fd)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "source", tmp_path / "target"
    for path in made:
        path.mkdir()
    return made


def test_files_links_and_modes_arrive_and_what_was_there_goes(places: tuple[Path, Path]) -> None:
    source, target = places
    (source / "dir").mkdir()
    (source / "dir/file").write_text("new")
    (source / "dir/file").chmod(0o640)
    os.utime(source / "dir/file", ns=(1, 2))
    os.link(source / "dir/file", source / "twin")
    (source / "link").symlink_to("/nowhere")
    os.mkfifo(source / "pipe", 0o600)
    (source / "left").write_text("out")
    (target / "dir").mkdir()
    (target / "dir/file").symlink_to("/etc/passwd")
    (target / "dir/stays").touch()
    (target / "link").mkdir()
    (target / "link/inside").touch()
    _fill(source, target, "left")
    found = (target / "dir/file").lstat()
    assert (found.st_mode, found.st_mtime_ns) == (stat.S_IFREG | 0o640, 2)
    assert found.st_ino == (target / "twin").lstat().st_ino
    assert (target / "dir/file").read_text() == "new"
    assert (target / "link").readlink() == Path("/nowhere")
    assert stat.S_ISFIFO((target / "pipe").lstat().st_mode)
    assert sorted(os.listdir(target)) == ["dir", "link", "pipe", "twin"]
    assert sorted(os.listdir(target / "dir")) == ["file", "stays"]


def test_a_directory_in_the_place_of_a_link_does_not_lead_through_it(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = places
    (tmp_path / "elsewhere").mkdir()
    (source / "dir").mkdir()
    (source / "dir/file").touch()
    (target / "dir").symlink_to(tmp_path / "elsewhere")
    _fill(source, target)
    assert (target / "dir").lstat().st_mode & stat.S_IFDIR
    assert not os.listdir(tmp_path / "elsewhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make whiteouts")
def test_what_was_removed_goes_and_opaque_directories_hide(places: tuple[Path, Path]) -> None:
    source, target = places
    for name in ("gone", "deep"):
        (target / name).mkdir()
        (target / name / "file").touch()
    os.mknod(source / "gone", stat.S_IFCHR, 0)
    os.mknod(source / "never there", stat.S_IFCHR, 0)
    (source / "deep").mkdir()
    (source / "deep/new").touch()
    os.setxattr(source / "deep", "user.overlay.opaque", b"y")
    os.setxattr(source / "deep", "user.mine", b"kept")
    _fill(source, target)
    assert os.listdir(target) == ["deep"]
    assert os.listdir(target / "deep") == ["new"]
    assert os.listxattr(target / "deep") == ["user.mine"]


def test_directories_beyond_a_depth_are_an_error(places: tuple[Path, Path]) -> None:
    source, target = places
    os.makedirs(source / "/".join(["d"] * (DEPTH_MAX + 2)))
    with pytest.raises(OSError, match="within one another"):
        _fill(source, target)
