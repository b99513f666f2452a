"""What root may do in a sandbox: give files away, be others, and find both wherever files go.

A normal user's daemon has one id to give, so there is root in its sandboxes and nobody else.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import bare_image, home_of_images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

HAS_IDS = os.geteuid() == 0
with_ids = pytest.mark.skipif(not HAS_IDS, reason="a normal user's sandboxes know one id")
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
HTTP = "setpriv --reuid 33 --regid 44 --clear-groups"
#: Whoever may become another is let, and that is all that is asked of `su`.
LETS_IN = """
mkdir -p /etc/pam.d
for kind in auth account session; do echo "$kind sufficient pam_permit.so"; done > /etc/pam.d/su
"""
#: A directory that only 33 may enter, with a file of 33 and 44, one of root's, and a link of 5's.
MAKES = """
mkdir own; chown 33:44 own; chmod 700 own
echo secret > own/key; chown 33:44 own/key; chmod 600 own/key
echo shared > own/list; chown 0:44 own/list; chmod 640 own/list
ln -s key own/link; chown -h 5:6 own/link; ln own/key own/same
"""
SHOWN = """700 33 44 own
600 33 44 own/key
640 0 44 own/list
777 5 6 own/link
600 33 44 own/same
"""
SHOWS = "stat -c '%a %u %g %n' own own/key own/list own/link own/same"

app = volant.App("rights-of-sandboxes")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "sandbox-rights") as made, app.run():
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    with bare_image("rights", {"config": {"Env": ["PATH=/usr/bin"], "WorkingDir": "/"}}) as image:
        yield image


def _end(sandbox: volant.Sandbox, script: str) -> tuple[int, str]:
    process = sandbox.exec("sh", "-c", script)
    said: str = process.stdout.read() + process.stderr.read()
    return process.wait(), said


def _shell(sandbox: volant.Sandbox, script: str) -> str:
    status, said = _end(sandbox, script)
    assert status == 0, said
    return said


def _assert_owned(sandbox: volant.Sandbox, place: str) -> None:
    """Owners and modes are those that `MAKES` made, and mean what they say."""
    assert _shell(sandbox, f"cd {place}; {SHOWS}") == SHOWN
    assert _shell(sandbox, f"cd {place}; {HTTP} cat own/key own/list; cat own/key") == (
        "secret\nshared\nsecret\n"
    )
    status, said = _end(sandbox, f"cd {place}; {NOBODY} cat own/key")
    assert (status != 0, "Permission denied" in said) == (True, True)


@with_ids
def test_files_of_others_are_closed_to_others(bare: volant.Image) -> None:
    """Behaviour 143."""
    sandbox = volant.Sandbox.create(app=app, image=bare)
    _shell(sandbox, f"cd /srv; {MAKES}")
    _assert_owned(sandbox, "/srv")
    sandbox.terminate(wait=True)


@with_ids
def test_su_becomes_another_and_cannot_come_back() -> None:
    """Behaviour 143: by the machine's own `su`, whose configuration a sandbox does not see."""
    sandbox = volant.Sandbox.create(app=app)
    script = "id -u; cat /srv/key; kill -0 $PPID; su root -c id"
    _shell(sandbox, LETS_IN + "echo > /srv/key; chmod 600 /srv/key")
    status, said = _end(sandbox, f"su nobody -s /bin/sh -c '{script}'")
    assert said.splitlines()[0] == "65534"
    assert status != 0
    assert re.search("/srv/key: Permission denied", said)
    assert "uid=0" not in said
    sandbox.terminate(wait=True)


@with_ids
def test_a_volume_keeps_owners_and_modes(bare: volant.Image) -> None:
    """Behaviour 143: seen by another sandbox, and of another image."""
    with volant.Volume.ephemeral() as volume:
        first = volant.Sandbox.create(app=app, image=bare, volumes={"/data": volume})
        _shell(first, f"cd /data; {MAKES}")
        _assert_owned(first, "/data")
        first.terminate(wait=True)
        second = volant.Sandbox.create(app=app, volumes={"/data": volume})
        _assert_owned(second, "/data")
        _shell(second, "cd /data; chown 7:8 own/list; chmod 4 own/key; mv own/key own/new")
        second.terminate(wait=True)
        third = volant.Sandbox.create(app=app, image=bare, volumes={"/data": volume})
        shown = _shell(third, "cd /data; stat -c '%a %u %g' own own/new own/list")
        assert shown == "700 33 44\n4 33 44\n640 7 8\n"
        third.terminate(wait=True)


@with_ids
def test_functions_find_owners_and_modes_in_a_volume(bare: volant.Image) -> None:
    """Behaviour 143: root in their containers has no such rights, so what is closed is closed."""
    with volant.Volume.ephemeral() as volume:
        sandbox = volant.Sandbox.create(app=app, image=bare, volumes={"/data": volume})
        _shell(sandbox, f"cd /data; {MAKES}")
        sandbox.terminate(wait=True)
        functions = volant.App("looks-at-owners")

        @functions.function(volumes={"/data": volume}, serialized=True)
        def look() -> list[object]:
            import os

            info = os.stat("/data/own")
            try:
                os.listdir("/data/own")
            except PermissionError as error:
                return [info.st_uid, info.st_gid, oct(info.st_mode), error.strerror]
            return ["read"]

        with functions.run():
            assert look.remote() == [33, 44, "0o40700", "Permission denied"]


@with_ids
def test_a_snapshot_keeps_owners_and_modes(bare: volant.Image) -> None:
    """Behaviour 122: also one of a snapshot."""
    first = volant.Sandbox.create(app=app, image=bare)
    _shell(first, f"cd /srv; {MAKES}")
    second = volant.Sandbox.create(app=app, image=first.snapshot_filesystem())
    _assert_owned(second, "/srv")
    _shell(second, "cd /srv; echo more >> own/key; chown 7 own/list")
    third = volant.Sandbox.create(app=app, image=second.snapshot_filesystem())
    assert _shell(third, "cd /srv; stat -c '%u %g' own/key own/list") == "33 44\n7 44\n"
    for one in (first, second, third):
        one.terminate(wait=True)


@with_ids
def test_files_are_read_and_written_as_root_reads_and_writes_them(bare: volant.Image) -> None:
    """The owner stays."""
    sandbox = volant.Sandbox.create(app=app, image=bare)
    _shell(sandbox, f"cd /srv; {MAKES}")
    files = sandbox.filesystem
    assert files.read_text("/srv/own/key") == "secret\n"
    files.write_text("other\n", "/srv/own/key")
    assert len(files.list_files("/srv/own")) == 4
    assert _shell(sandbox, f"cd /srv; {SHOWS}") == SHOWN
    assert _shell(sandbox, f"{HTTP} cat /srv/own/key") == "other\n"
    sandbox.terminate(wait=True)


@with_ids
def test_directories_travel_with_their_owners(bare: volant.Image) -> None:
    """`snapshot_directory` and `mount_image`; gVisor refuses both."""
    first = volant.Sandbox.create(app=app, image=bare, runtime="container")
    _shell(first, f"cd /srv; {MAKES}")
    second = volant.Sandbox.create(app=app, image=bare, runtime="container")
    second.mount_image("/mounted", first.snapshot_directory("/srv"))
    _assert_owned(second, "/mounted")
    second.mount_image("/inner", first.snapshot_directory("/srv/own"))
    assert _shell(second, "stat -c '%a %u %g' /inner /inner/key") == "700 33 44\n600 33 44\n"
    assert _shell(second, f"{HTTP} cat /inner/key") == "secret\n"
    _shell(second, f"{NOBODY} sh -c '! ls /inner'")
    _shell(second, "chown 9:9 /mounted/own/list")
    _shell(second, f"{NOBODY} sh -c '! ls /mounted/own'")
    for one in (first, second):
        one.terminate(wait=True)


@with_ids
def test_bits_that_lend_owners_do_not_leave_the_sandbox(bare: volant.Image, home: Path) -> None:
    """Installers set them; where files have owners of this machine, none has one."""
    with volant.Volume.ephemeral() as volume:
        sandbox = volant.Sandbox.create(app=app, image=bare, volumes={"/data": volume})
        _shell(sandbox, "cd /srv; mkdir d; chmod 2770 d; echo > b; chmod 4755 b")
        _shell(sandbox, "cd /data; echo > a; chmod 6755 a")
        assert _shell(sandbox, "stat -c %a /srv/d /srv/b /data/a") == "2770\n4755\n6755\n"
        image = sandbox.snapshot_filesystem()
        sandbox.terminate(wait=True)
        second = volant.Sandbox.create(app=app, image=image, volumes={"/data": volume})
        modes = _shell(second, "stat -c %a /srv/d /srv/b /data/a")
        assert modes == "2770\n755\n755\n"
        second.terminate(wait=True)
    look = ["find", home / "images", home / "volumes", "-type", "f", "-perm", "/6000"]
    assert subprocess.run(look, capture_output=True, check=False).stdout == b""
    assert stat.S_IMODE((home / "volumes/views").stat().st_mode) == 0o700


def test_root_reads_what_its_mode_closes(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    assert _shell(sandbox, "cd /srv; echo x > closed; chmod 0 closed; cat closed") == "x\n"
    sandbox.terminate(wait=True)


def test_low_ports_of_its_own_network_are_its_own() -> None:
    script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80)); print(s.getsockname())"
    sandbox = volant.Sandbox.create(app=app, block_network=True, runtime="container")
    assert sandbox.exec("python3", "-c", script).stdout.read() == "('127.0.0.1', 80)\n"
    sandbox.terminate(wait=True)


@pytest.mark.skipif(HAS_IDS, reason="root has ids to give")
def test_where_there_is_one_id_the_kernel_says_that_there_is_no_other(bare: volant.Image) -> None:
    """`Invalid argument`: neither done nor pretended."""
    sandbox = volant.Sandbox.create(app=app, image=bare, runtime="container")
    for script in ("echo > /srv/file; chown 33:44 /srv/file", "setpriv --reuid 33 id"):
        status, said = _end(sandbox, script)
        assert (status != 0, "Invalid argument" in said) == (True, True), said
    assert _shell(sandbox, "chown 0:0 /srv/file; stat -c '%u %g' /srv/file") == "0 0\n"
    sandbox.terminate(wait=True)
