"""Buckets of object stores as directories of containers: read, written, refused, and gone again."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import buckets
from tests.behaviours.programs import at_home
from tests.behaviours.stores import BUCKET, KEY, SECRET, plain_store, weed_store
from tests.support import daemon_pid, eventually, run_volant
from volant.errors import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.behaviours.conftest import StartProgram
    from tests.behaviours.stores import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount buckets")
#: More than one page of a list has.
KEYS = 2500
#: A program one of whose containers has a bucket, until it is killed.
HOLDER = f"""
import sys
import buckets, volant
secret = volant.Secret.from_dict({SECRET._values!r})
mount = volant.CloudBucketMount(sys.argv[2], sys.argv[1], secret=secret)
with buckets.app.run():
    buckets.run.with_options(volumes={{"/data": mount}}).remote("names", "/data")
    print("mounted")
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with plain_store(tmp_path_factory.mktemp("plain") / "store") as store:
        yield store


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with weed_store(tmp_path_factory.mktemp("weed") / "store") as store:
        yield store


@pytest.fixture(params=["plain", "weed"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def _running() -> Iterator[None]:
    with buckets.app.run():
        yield


def at(mount: volant.CloudBucketMount) -> Any:
    """The function, with a bucket at /data."""
    return buckets.run.with_options(volumes={"/data": mount}).remote


def servers(home: Path) -> list[int]:
    """The processes that serve buckets to containers of a home's daemon."""
    daemon = daemon_pid(home)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            launcher = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            parent = Path(f"/proc/{launcher}/stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if argv[:2] == [b"rclone", b"mount2"] and int(parent) == daemon:
            found.append(int(name))
    return found


@pytest.mark.usefixtures("_running")
class TestFiles:
    def test_what_is_written_is_an_object_when_it_is_closed(self, store: Store) -> None:
        run = at(store.mount())
        assert run("write", "/data/deep/er/new.txt", "from a container") == "written"
        assert store.get("deep/er/new.txt") == b"from a container"
        assert run("read", "/data/deep/er/new.txt", 5, 3) == "a c"
        assert run("names", "/data/deep") == ["er"]
        assert run("write", "/data/deep/er/new.txt", "anew") == "written"
        assert store.get("deep/er/new.txt") == b"anew"

    def test_what_others_have_put_is_read(self, store: Store) -> None:
        store.put("put/by/others", b"hello")
        run = at(store.mount(key_prefix="put/"))
        assert run("names", "/data") == ["by"]
        assert run("read", "/data/by/others") == "hello"

    def test_files_are_renamed_and_removed(self, store: Store) -> None:
        store.put("moving/a", b"a")
        run = at(store.mount(key_prefix="moving/"))
        assert run("move", "/data/a", "/data/b") == "moved"
        assert store.get("moving/b") == b"a"
        assert run("remove", "/data/b") == "removed"
        assert run("names", "/data") == []
        assert store.client("lsf", f"s:{BUCKET}/moving") == b""

    def test_files_are_written_from_begin_to_end_only(self, store: Store) -> None:
        run = at(store.mount())
        run("write", "/data/once", "kept")
        assert run("write", "/data/once", "more", "a") == ("PermissionError", errno.EPERM)
        assert run("write", "/data/once", "x", "r+") == ("PermissionError", errno.EPERM)
        assert store.get("once") == b"kept"
        assert run("rewrite", "/data/twice") == ("OSError", errno.ESPIPE)

    def test_a_read_only_mount_refuses_writes(self, store: Store) -> None:
        store.put("kept", b"kept")
        run = at(store.mount(read_only=True))
        for refused in (("write", "/data/new", "x"), ("remove", "/data/kept")):
            assert run(*refused) == ("OSError", errno.EROFS)
        assert run("read", "/data/kept") == "kept"

    def test_files_belong_to_the_user_of_the_container(self, plain: Store) -> None:
        plain.put("mine", b"")
        assert at(plain.mount())("owners", "/data/mine") == (0, 0)

    def test_all_pages_of_a_long_list_are_seen(self, plain: Store) -> None:
        many = plain.directory / "many"
        many.mkdir()
        for index in range(KEYS):
            (many / f"{index:05}").touch()
        found = at(plain.mount(key_prefix="many/"))("names", "/data")
        assert found == [f"{index:05}" for index in range(KEYS)]

    def test_a_part_of_a_large_object_is_read_without_the_rest(self, plain: Store) -> None:
        with (plain.directory / "large").open("wb") as file:
            file.truncate(2 << 30)
            file.seek(-4, os.SEEK_END)
            file.write(b"tail")
        before = _bytes_read(plain)
        assert at(plain.mount())("read", "/data/large", (2 << 30) - 4) == "tail"
        assert _bytes_read(plain) - before < 64 << 20


def _bytes_read(store: Store) -> int:
    told = Path(f"/proc/{store.process.pid}/io").read_text()
    return int(told.partition("rchar:")[2].split()[0])


@pytest.mark.usefixtures("_running")
class TestRefused:
    def test_a_bucket_that_is_not_there_is_named(self, store: Store) -> None:
        mount = volant.CloudBucketMount("nowhere", store.url, secret=SECRET)
        with pytest.raises(NotFoundError, match=f"no bucket `nowhere` at {store.url}"):
            at(mount)("names", "/data")

    def test_a_key_that_may_not_is_named(self, store: Store) -> None:
        secret = volant.Secret.from_dict({
            "AWS_ACCESS_KEY_ID": "AKOTHER", "AWS_SECRET_ACCESS_KEY": "nothing",
        })  # fmt: skip
        with pytest.raises(PermissionDeniedError, match=r"the key AKOTHER list bucket `photos`"):
            at(store.mount(secret=secret))("names", "/data")

    def test_a_wrong_key_is_not_told(self, store: Store) -> None:
        secret = volant.Secret.from_dict({
            "AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "notthekey",
        })  # fmt: skip
        with pytest.raises(PermissionDeniedError) as caught:
            at(store.mount(secret=secret))("names", "/data")
        assert "notthekey" not in str(caught.value)

    def test_a_store_that_cannot_be_reached_is_named(self, tmp_path: Path) -> None:
        with plain_store(tmp_path / "store") as gone:
            mount = gone.mount()
        with pytest.raises(ExecutionError, match=r"bucket `photos` at .* cannot be reached"):
            at(mount)("names", "/data")

    def test_a_secret_without_a_key_is_refused(self, plain: Store) -> None:
        half = volant.Secret.from_dict({"AWS_ACCESS_KEY_ID": "AK"})
        with pytest.raises(InvalidError, match="has no AWS_SECRET_ACCESS_KEY"):
            at(plain.mount(secret=half))("names", "/data")

    def test_a_stored_secret_is_looked_up(self, plain: Store) -> None:
        assert SECRET._values is not None
        volant.Secret.objects.create("store-of-tests", SECRET._values, allow_existing=True)
        plain.put("stored/x", b"x")
        mount = plain.mount(secret=volant.Secret.from_name("store-of-tests"), key_prefix="stored/")
        assert at(mount)("names", "/data") == ["x"]
        with pytest.raises(NotFoundError, match="nobody-has"):
            at(plain.mount(secret=volant.Secret.from_name("nobody-has")))("names", "/data")


@pytest.mark.usefixtures("_running")
class TestStoreFails:
    def test_a_store_that_is_gone_is_an_error_of_the_file(self, tmp_path: Path) -> None:
        with plain_store(tmp_path / "store") as store:
            store.put("here", b"x")
            run = at(store.mount())
            assert run("names", "/data") == ["here"]
        assert run("read", "/data/here") == ("OSError", errno.EIO)


class TestStoreStops:
    @pytest.mark.slow
    def test_a_store_that_says_nothing_is_an_error_of_the_file(
        self, own_home: Path, tmp_path: Path
    ) -> None:
        (own_home / "config.toml").write_text("gateway_port = 0\nbucket_timeout_s = 0.5\n")
        with plain_store(tmp_path / "store") as store, at_home(own_home):
            store.put("here", b"x")
            with buckets.app.run():
                run = at(store.mount())
                assert run("names", "/data") == ["here"]
                store.process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, store.process.pid, os.WSTOPPED | os.WNOWAIT)
                assert run("read", "/data/here") == ("OSError", errno.EIO)


class TestProcesses:
    def test_one_serves_all_and_ends_with_the_last(self, volant_home: Path, plain: Store) -> None:
        before = servers(volant_home)
        with buckets.app.run():
            assert at(plain.mount())("names", "/data") is not None
            assert at(plain.mount(read_only=True))("names", "/data") is not None
            [server] = set(servers(volant_home)) - set(before)
            ids = Path(f"/proc/{server}/status").read_text()
            assert "CapEff:\t0000000000000000" in ids
            assert "Uid:\t0\t" not in ids
        eventually(lambda: server not in servers(volant_home))

    def test_its_secret_is_in_no_list_of_processes_and_no_container(
        self, volant_home: Path, plain: Store
    ) -> None:
        before = servers(volant_home)
        with buckets.app.run():
            seen = at(plain.mount())("secrets")
            [server] = set(servers(volant_home)) - set(before)
            for name in ("cmdline", "environ"):
                seen.append(Path(f"/proc/{server}/{name}").read_text())
        assert not [one for one in seen if KEY in one]

    def test_it_dies_with_a_daemon_that_is_killed(
        self, own_home: Path, plain: Store, start: StartProgram
    ) -> None:
        program = start("-c", HOLDER, plain.url, BUCKET, home=own_home, interactive=True)
        assert program.line() == "mounted"
        [server] = servers(own_home)
        daemon = daemon_pid(own_home)
        assert daemon is not None
        handle = os.pidfd_open(server)
        os.kill(daemon, signal.SIGKILL)
        eventually(lambda: not _lives(handle))
        os.close(handle)
        assert "bucket " not in Path("/proc/mounts").read_text()

    def test_a_container_whose_server_was_killed_gives_way_to_another(
        self, volant_home: Path, plain: Store
    ) -> None:
        plain.put("again/x", b"x")
        before = servers(volant_home)
        with buckets.app.run():
            run = at(plain.mount(key_prefix="again/"))
            assert run("names", "/data") == ["x"]
            [server] = set(servers(volant_home)) - set(before)
            os.kill(server, signal.SIGKILL)
            eventually(lambda: run("names", "/data") == ["x"])


def _lives(handle: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_shows_what_to_do(volant_home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import volant\n"
        "app = volant.App()\n"
        "mount = volant.CloudBucketMount('photos', 'http://127.0.0.1:1')\n"
        "@app.function(volumes={'/data': mount})\n"
        "def f(): pass\n"
        "@app.local_entrypoint()\n"
        "def main(): f.remote()\n"
    )
    said = run_volant("run", str(program), home=volant_home)
    assert said.returncode == 1
    assert "hint: check bucket_endpoint_url" in said.stderr
