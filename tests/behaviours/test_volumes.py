"""Volumes: trees of files that outlive containers, seen by several of them, changed by programs."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import volumes
from tests.behaviours.programs import at_home
from tests.support import daemon_pid, eventually, run_volant, same
from volant.errors import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
)
from volant.sdk.objects import asking
from volant.sdk.volumes import uploading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from volant.sdk.objects.asking import Question
    from volant.sdk.volumes.volume import Volume


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with volumes.app.run():
        yield


@pytest.fixture
def fresh() -> Iterator[Volume]:
    with volant.Volume.ephemeral() as volume:
        yield volume


def content(volume: Volume, path: str) -> bytes:
    return b"".join(volume.read_file(path))


def names(volume: Volume, path: str = "/", *, recursive: bool = True) -> list[str]:
    return [entry.path for entry in volume.listdir(path, recursive=recursive)]


class TestInContainers:
    def test_others_see_what_was_committed_when_they_reload(self) -> None:
        """Behaviour 89."""
        volumes.look.remote(reload=True)
        volumes.write.remote({"seen/a": "first"}, commit=False)
        assert "seen/a" not in volumes.look.remote(reload=True)
        volumes.write.remote({})
        assert "seen/a" not in volumes.look.remote()
        assert volumes.look.remote(reload=True)["seen/a"] == "first"
        assert content(volumes.volume, "seen/a") == b"first"
        volumes.write.remote({"seen/a": "second"}, remove=())
        assert volumes.look.remote()["seen/a"] == "first"
        assert volumes.look.remote(reload=True)["seen/a"] == "second"

    def test_what_is_removed_is_gone_for_others(self) -> None:
        volumes.write.remote({"gone/a": "a", "gone/b": "b"})
        volumes.look.remote(reload=True)
        volumes.write.remote({}, remove=("gone/a",))
        found = volumes.look.remote(reload=True)
        assert "gone/b" in found
        assert "gone/a" not in found

    def test_the_last_who_commits_wins_file_by_file(self) -> None:
        volumes.write.remote({"both": "base"})
        volumes.run.remote("tree", top="/data")
        volumes.write.remote({"both": "first", "only": "first"}, commit=False)
        with volumes.volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"second"), "/both")
            batch.put_file(io.BytesIO(b"second"), "/uploaded")
        volumes.write.remote({})
        assert content(volumes.volume, "both") == b"first"
        assert content(volumes.volume, "uploaded") == b"second"
        assert content(volumes.volume, "only") == b"first"

    def test_an_input_that_fails_is_committed_before_it_is_told(self) -> None:
        """Behaviour 89."""
        with pytest.raises(ValueError, match="on purpose"):
            volumes.run.remote("fail")
        assert content(volumes.volume, "failed") == b"before it failed"

    def test_what_a_container_wrote_that_was_killed_is_committed(self) -> None:
        """Behaviour 89."""
        with pytest.raises(volant.Error):
            volumes.run.with_options(retries=0).remote("die")
        eventually(lambda: "died" in names(volumes.volume), within_s=30)

    def test_hooks_of_a_class_have_volumes_and_the_last_commit_comes_after_exit(self) -> None:
        """Behaviours 56 and 89."""
        with volumes.alone.run():
            assert "entered" in list(volumes.Alone().names.remote_gen())
        assert content(volumes.volume, "exited") == b"exited"

    def test_what_is_written_is_committed_in_the_background(self) -> None:
        volumes.write.remote({"background": "x"}, commit=False)
        eventually(lambda: "background" in names(volumes.volume), within_s=30)

    @pytest.mark.parametrize(
        ("how", "named"), [("open", "/data/held is open by process"), ("cwd", "/data/working is")]
    )
    def test_reload_with_files_in_use_names_them(self, how: str, named: str) -> None:
        """Behaviour 97."""
        said = volumes.run.remote("keep_open", how=how)
        assert said.startswith("ConflictError: volume busy: ")
        assert named in said

    def test_a_read_only_mount_is_one(self) -> None:
        """Behaviour 93."""
        found, said = volumes.write_read_only.remote()
        assert said == "Read-only file system"
        assert isinstance(found, list)

    def test_a_sub_path_is_a_directory_of_it(self) -> None:
        """Behaviour 94: it is made, and only what is in it is seen."""
        assert "inside" in volumes.write_part.remote("inside")
        assert content(volumes.volume, "some/part/inside") == b"part"

    def test_several_volumes_may_lie_in_one_another(self) -> None:
        assert "who" in volumes.several.remote()
        assert content(volumes.volume, "who") == b"/data"
        assert "inner/who" not in names(volumes.volume)

    def test_all_that_a_file_is_is_kept(self) -> None:
        """Behaviour 143, as far as a container without capabilities can change it."""
        volumes.run.remote("files_of_all_kinds")
        eventually(lambda: "kinds/sparse" in names(volumes.volume), within_s=30)
        found = volumes.run.remote("look_at_kinds")
        assert found["names"] == ["dir", "file", "link", "same", "sparse"]
        assert found["modes"] == (0o751, 0o700)
        assert found["owner"] == (0, 0)
        assert found["xattr"] == b"kept"
        assert found["link"] == "file"
        assert found["size"] == 200_000
        assert found["sparse"][0] == 20 << 30
        assert found["sparse"][1] < 20_000
        assert content(volumes.volume, "kinds/link") == b"x" * 200_000

    @pytest.mark.skipif(os.geteuid() != 0, reason="for a normal user it is refused, as documented")
    def test_a_committed_directory_can_be_renamed(self) -> None:
        assert volumes.run.remote("rename_directory") == ["inner", "inner/file"]
        assert content(volumes.volume, "new/inner/file") == b"moved"
        assert "old" not in names(volumes.volume)

    def test_a_handle_travels(self) -> None:
        """Behaviour 136."""
        assert "some" in volumes.run.remote("travel", handle=volumes.volume)

    def test_only_containers_commit_and_reload(self) -> None:
        for act in (volumes.volume.commit, volumes.volume.reload):
            with pytest.raises(InvalidError, match="for containers"):
                act()

    def test_a_volume_that_does_not_exist_is_told_on_use(self) -> None:
        """Behaviour 88."""
        missing = volant.Volume.from_name("no-such-volume")
        app = volant.App("missing")
        app.function(volumes={"/data": missing}, serialized=True, name="f")(lambda: None)
        with pytest.raises(NotFoundError, match="no-such-volume"), app.run():
            pass


class TestPlaces:
    @pytest.mark.parametrize("path", ["/", "/tmp", "data", "/data/../etc", "/proc/x", "/dev", ""])
    def test_where_no_volume_can_be(self, path: str) -> None:
        """Behaviour 95."""
        with pytest.raises(InvalidError, match="cannot be mounted"):
            volant.App("x").function(volumes={path: volumes.volume})

    def test_one_volume_is_mounted_once(self) -> None:
        """Behaviour 95."""
        twin = volant.Volume.from_name("behaviours")
        with pytest.raises(InvalidError, match="is mounted at '/a' and at '/b'"):
            volant.App("x").function(volumes={"/a": volumes.volume, "/b": twin})

    def test_one_volume_by_id_and_name_is_mounted_once(self) -> None:
        """Behaviour 95."""
        twin = volant.Volume.from_id(volumes.volume.hydrate().object_id or "")
        app = volant.App("twice")
        both = {"/a": volumes.volume, "/b": twin}
        app.function(volumes=both, serialized=True, name="f")(lambda: None)
        with pytest.raises(InvalidError, match="is mounted at"), app.run():
            pass

    def test_what_is_no_volume_is_refused(self) -> None:
        for wrong in ({"/a": "behaviours"}, ["/a"]):
            with pytest.raises(InvalidError):
                volant.App("x").function(volumes=wrong)  # type: ignore[arg-type]  # on purpose


class TestPrograms:
    def test_files_and_directories_are_put(self, fresh: Volume, tmp_path: Path) -> None:
        """Behaviour 90."""
        (tmp_path / "d/e").mkdir(parents=True)
        (tmp_path / "d/a").write_text("a")
        (tmp_path / "d/a").chmod(0o750)
        (tmp_path / "d/e/b").write_text("b")
        with fresh.batch_upload() as batch:
            batch.put_file(tmp_path / "d/a", "/one")
            batch.put_file(io.BytesIO(b"bytes"), "/two", mode=0o600)
            batch.put_directory(tmp_path / "d", "/all")
            batch.put_directory(tmp_path / "d", "/flat", recursive=False)
        assert names(fresh) == [
            "all", "all/a", "all/e", "all/e/b", "flat", "flat/a", "one", "two",
        ]  # fmt: skip
        modes = {entry.path: entry.mode for entry in fresh.listdir("/")}
        assert (modes["one"], modes["two"]) == (0o750, 0o600)
        with pytest.raises(FileExistsError), fresh.batch_upload() as batch:
            batch.put_file(tmp_path / "d/a", "/one")
        with fresh.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"new"), "/one")
        assert content(fresh, "one") == b"new"

    def test_nothing_is_put_by_a_block_that_fails(self, fresh: Volume) -> None:
        def put_and_fail() -> None:
            with fresh.batch_upload() as batch:
                batch.put_file(io.BytesIO(b"x"), "/x")
                raise ValueError("stop")

        with pytest.raises(ValueError, match="stop"):
            put_and_fail()
        assert names(fresh) == []

    @pytest.mark.parametrize("size", [0, 1, 65536, 65537, 9 << 20])
    def test_what_was_put_is_read(self, fresh: Volume, size: int) -> None:
        """Behaviour 91."""
        data = os.urandom(size)
        with fresh.batch_upload() as batch:
            batch.put_file(io.BytesIO(data), "/data.bin")
        assert same(content(fresh, "/data.bin"), data)
        target = io.BytesIO()
        assert fresh.read_file_into_fileobj("data.bin", target) == size
        assert same(target.getvalue(), data)

    def test_what_is_missing_raises_what_python_raises(self, fresh: Volume) -> None:
        """Behaviour 91."""
        for act in (
            lambda: content(fresh, "no"),
            lambda: fresh.remove_file("no"),
            lambda: fresh.listdir("no"),
            lambda: fresh.copy_files(["no"], "x"),
        ):
            with pytest.raises(FileNotFoundError):
                act()

    def test_copies_and_removals(self, fresh: Volume) -> None:
        """Behaviours 91 and 92."""
        with fresh.batch_upload() as batch:
            for name in ("a", "b", "d/c"):
                batch.put_file(io.BytesIO(name.encode()), f"/{name}")
        fresh.copy_files(["a"], "copy")
        fresh.copy_files(["a", "b"], "d")
        with pytest.raises(IsADirectoryError):
            fresh.copy_files(["d"], "e")
        fresh.copy_files(["d"], "e", recursive=True)
        with pytest.raises(IsADirectoryError):
            fresh.remove_file("d")
        fresh.remove_file("d", recursive=True)
        fresh.remove_file("a")
        assert names(fresh) == ["b", "copy", "e", "e/a", "e/b", "e/c"]
        assert content(fresh, "e/c") == b"d/c"

    def test_a_read_only_handle_changes_nothing(self, fresh: Volume) -> None:
        """Behaviour 93."""
        handle = fresh.with_mount_options(read_only=True)
        for act in (
            handle.batch_upload,
            lambda: handle.remove_file("x"),
            lambda: handle.copy_files(["x"], "y"),
            lambda: handle.restore(1),
        ):
            with pytest.raises(InvalidError, match="read-only"):
                act()

    def test_every_state_can_be_restored(self, fresh: Volume) -> None:
        for text in (b"first", b"second"):
            with fresh.batch_upload(force=True) as batch:
                batch.put_file(io.BytesIO(text), "/file")
        fresh.remove_file("file")
        actions = [state.action for state in fresh.history()]
        assert actions == ["remove file", "put files", "put files"]
        fresh.restore(1)
        assert content(fresh, "file") == b"first"
        assert fresh.history(max_states=1)[0].number == 4
        with pytest.raises(NotFoundError):
            fresh.restore(99)

    def test_versions(self) -> None:
        """Behaviour 96."""
        for version in (0, 3, "2", True):
            with pytest.raises(InvalidError):
                volant.Volume.from_name("x", version=version)  # type: ignore[arg-type]
        volant.Volume.from_name("of-one", version=1, create_if_missing=True).hydrate()
        volant.Volume.from_name("of-one").hydrate()
        with pytest.raises(InvalidError, match="of version 1, not 2"):
            volant.Volume.from_name("of-one", version=2).hydrate()
        volant.Volume.objects.delete("of-one")

    @pytest.mark.parametrize("name", ["a b", "a/b", "x" * 65, ""])
    def test_names_that_cannot_be(self, name: str) -> None:
        """Behaviour 98."""
        with pytest.raises(InvalidError):
            volant.Volume.from_name(name)
        with pytest.raises(InvalidError):
            volant.Volume.objects.create(name)

    def test_volumes_are_made_listed_renamed_and_deleted(self) -> None:
        """Behaviour 99."""
        volant.Volume.objects.create("made")
        with pytest.raises(AlreadyExistsError):
            volant.Volume.objects.create("made")
        volant.Volume.objects.create("made", allow_existing=True)
        assert "made" in [one.name for one in volant.Volume.objects.list()]
        assert len(volant.Volume.objects.list(max_objects=1)) == 1
        volant.Volume.rename("made", "renamed")
        with pytest.raises(NotFoundError):
            volant.Volume.from_name("made").hydrate()
        with pytest.raises(AlreadyExistsError):
            volant.Volume.rename("renamed", "behaviours")
        assert volant.Volume.from_name("renamed").info().name == "renamed"
        volant.Volume.objects.delete("renamed")
        with pytest.raises(NotFoundError):
            volant.Volume.objects.delete("renamed")
        volant.Volume.objects.delete("renamed", allow_missing=True)

    def test_everything_can_be_awaited(self) -> None:
        async def use() -> bytes:
            async with volant.Volume.ephemeral.aio() as volume:
                async with volume.batch_upload.aio() as batch:
                    batch.put_file(io.BytesIO(b"x" * 100_000), "/a")
                await volume.copy_files.aio(["a"], "b")
                await volume.remove_file.aio("a")
                assert [entry.path async for entry in volume.iterdir.aio("/")] == ["b"]
                return b"".join([piece async for piece in volume.read_file.aio("b")])

        assert asyncio.run(use()) == b"x" * 100_000

    def test_what_ended_with_its_block_is_gone(self) -> None:
        """Behaviour 103."""
        with volant.Volume.ephemeral() as volume:
            pass
        with pytest.raises(NotFoundError):
            volume.listdir("/")


def test_the_command_puts_lists_gets_and_restores(volant_home: Path, tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = run_volant("volume", *words, home=volant_home, directory=tmp_path)
        assert done.returncode == code, done.stderr
        return done.stdout

    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/file").write_text("content")
    (tmp_path / "d/e/file").chmod(0o640)
    run("create", "by-command")
    run("put", "by-command", "d", "/top")
    run("put", "by-command", "d/e/file", "/into/")
    assert "/into/file" not in run("put", "by-command", "d/e/file", "/into/", code=2)
    run("put", "by-command", "d/e/file", "/into/", "--force")
    assert "into/file" in run("ls", "by-command", "/into")
    assert '"top/e/file"' in run("ls", "by-command", "-r", "--json")
    run("get", "by-command", "/top", "got")
    assert (tmp_path / "got/e/file").read_text() == "content"
    assert (tmp_path / "got/e/file").stat().st_mode & 0o777 == 0o640
    assert run("get", "by-command", "/into/file", "-") == "content"
    run("cp", "by-command", "/into/file", "/copy")
    run("rm", "by-command", "/top", "-r")
    assert '"remove top"' in run("history", "by-command", "--json")
    run("restore", "by-command", "1")
    assert run("get", "by-command", "/top/e/file", "-") == "content"
    run("rename", "by-command", "by-command-2")
    assert "by-command-2" in run("list")
    run("delete", "by-command-2", "--yes")
    run("ls", "by-command-2", code=2)


@pytest.mark.parametrize("kind", ["path", "open file"])
def test_an_upload_goes_on_with_the_next_daemon(
    kind: str, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when it knows what is to come: the next one has forgotten that, and is told again."""
    large = os.urandom(3 << 20)
    (tmp_path / "large").write_bytes(b"before" + large)
    asked: list[str] = []

    def ask_with(fd: int, op: str, **fields: object) -> Question:
        if not asked:
            pid = daemon_pid(own_home)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        asked.append(op)
        return asking.ask_with(fd, op, **fields)

    monkeypatch.setattr(uploading, "ask_with", ask_with)
    with at_home(own_home), open(tmp_path / "large", "rb") as file:
        file.seek(6)
        volume = volant.Volume.from_name("going-on", create_if_missing=True)
        with volume.batch_upload() as batch:
            batch.put_file(tmp_path / "large" if kind == "path" else file, "/large")
        wanted = b"before" + large if kind == "path" else large
        assert same(b"".join(volume.read_file("/large")), wanted)
    assert asked == ["volume_take"] * 2
