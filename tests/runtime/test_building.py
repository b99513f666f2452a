"""Build steps: what they see, what they leave in their layer, and how they end."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import ANSWER_WITHIN_S, Laboratory
from volantd.runtime.client import RuntimeFailedError, StepSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.runtime.client import Step

PROGRAMS = (
    "sh", "cat", "chmod", "chown", "id", "ln", "ls", "mkdir", "mknod", "rm", "setpriv", "sleep",
)  # fmt: skip
#: A normal user has one id to give, so in steps of his there is root and nobody else.
HAS_IDS = os.geteuid() == 0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small root: a shell, some commands and the libraries that they need."""
    root = tmp_path_factory.mktemp("base")
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin")
        assert program is not None
        asked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        for path in [program, *re.findall(r"(/\S+)", asked.stdout)]:
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    (root / "etc").mkdir()
    (root / "etc/issue").write_text("the base\n")
    for link in ("bin", "lib64", "lib"):
        if not (root / link).exists():
            (root / link).symlink_to(f"usr/{link}")
    return root


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    made = Laboratory("container")
    if made.launcher.probe.rung != "container":
        made.close()
        pytest.skip("no containers on this machine")
    yield made
    made.close()


class Bench:
    """Runs steps; `diff` is what the last one left."""

    def __init__(self, lab: Laboratory, place: Path, base: Path) -> None:
        self.lab = lab
        self.place = place
        self.layers = [str(base)]
        self.count = 0
        self.diff = place

    def start(self, script: str, **changes: object) -> Step:
        self.count += 1
        output = self.place / f"output-{self.count}"
        self.diff = output / "diff"
        for name in ("diff", "work"):
            (output / name).mkdir(parents=True)
        fields = {
            "layers": tuple(self.layers), "output": str(output),
            "argv": ("/bin/sh", "-c", script), "env": {"PATH": "/usr/bin:/bin"},
        }  # fmt: skip
        spec = StepSpec(**{**fields, **changes})
        name = f"{self.place.name}-{self.count}"
        step: Step = self.lab.run(self.lab.launcher.spawn_step(spec, name))
        return step

    def end(self, step: Step) -> tuple[int, str]:
        """Its wait status, and what it printed."""
        try:
            return self.lab.run(self._end(step))
        finally:
            os.close(step.log_fd)

    async def _end(self, step: Step) -> tuple[int, str]:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status = await asyncio.shield(step.exited)
        # the end may be told while another process still holds the pipe: a fork of the launcher's
        os.set_blocking(step.log_fd, True)
        printed = b""
        while data := os.read(step.log_fd, 1 << 16):
            printed += data
        return status, printed.decode()

    def run(self, script: str, **changes: object) -> str:
        status, printed = self.end(self.start(script, **changes))
        assert status == 0, printed
        return printed


@pytest.fixture
def bench(lab: Laboratory, tmp_path: Path, base: Path) -> Bench:
    return Bench(lab, tmp_path, base)


def test_what_a_step_writes_is_its_layer_with_the_owners_that_it_saw(bench: Bench) -> None:
    bench.run("echo new > /file; chown 33:44 /file; mkdir -p /srv/deep; chmod 750 /srv/deep")
    info = (bench.diff / "file").stat()
    owners = (33, 44) if HAS_IDS else (os.geteuid(), os.getegid())
    assert (info.st_uid, info.st_gid, info.st_size) == (*owners, 4)
    deep = (bench.diff / "srv/deep").stat()
    assert (deep.st_uid, stat.S_IMODE(deep.st_mode)) == (os.geteuid(), 0o750)


def test_a_step_has_volumes_of_their_layers_and_writes_beside_them(
    bench: Bench, tmp_path: Path
) -> None:
    """With the owners that it sees; one that it may only read, and nothing in its layer."""
    lower, above = tmp_path / "lower", tmp_path / "above"
    for place in (lower / "deep", above / "upper", above / "work"):
        place.mkdir(parents=True)
    (lower / "deep/old").write_text("before\n")
    rows = [
        {"target": "/data", "layers": [str(lower)], "writable": str(above)},
        {"target": "/data/only-read", "layers": [str(lower)], "writable": ""},
    ]
    told = bench.run(
        "cat /data/deep/old; rm -r /data/deep; mkdir /data/deep; echo new > /data/deep/new;"
        "echo x > /data/only-read/x || cat /data/only-read/deep/old",
        volumes=tuple(rows),
    )
    assert told.splitlines()[0] == told.splitlines()[-1] == "before"
    assert "Read-only file system" in told
    assert (lower / "deep/old").read_text() == "before\n"
    made = above / "upper/deep"
    assert [one.name for one in made.iterdir()] == ["new"]
    assert made.stat().st_uid == os.geteuid()
    assert os.getxattr(made, ("trusted" if HAS_IDS else "user") + ".overlay.opaque") == b"y"
    assert list((bench.diff / "data").iterdir()) == []


def test_a_step_may_give_files_away_and_become_others(bench: Bench) -> None:
    """What packages do as they are installed; where there is no other id it only seems to work."""
    told = bench.run(
        "echo > /file; chown 33:44 /file && chown -h 5 /file && ls -ln /file;"
        "setpriv --reuid 33 --regid 44 --clear-groups id -u"
    )
    words = told.split()
    assert words[2:4] == (["5", "44"] if HAS_IDS else ["0", "0"])
    assert words[-1] == ("33" if HAS_IDS else "0")


def test_the_layer_is_seen_by_the_next_step(bench: Bench) -> None:
    bench.run("echo one > /one; rm /etc/issue; chown 33 /one")
    bench.layers.append(str(bench.diff))
    assert bench.run("cat /one; ls /etc; ls -ln /one").split()[:1] == ["one"]
    assert "issue" not in bench.run("ls /etc")
    assert (" 33 " if HAS_IDS else " 0 ") in bench.run("ls -ln /one")


def test_what_is_removed_and_replaced_is_marked_as_overlays_know_it(bench: Bench) -> None:
    bench.layers.append(str(bench.place / "more"))
    (bench.place / "more/data").mkdir(parents=True)
    (bench.place / "more/data/old").touch()
    bench.run("rm /etc/issue; rm -r /data; mkdir /data; echo > /data/new")
    gone = (bench.diff / "etc/issue").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(bench.diff / "data", "user.overlay.opaque") == b"y"
    bench.layers.append(str(bench.diff))
    assert bench.run("ls /data") == "new\n"


def test_the_layers_below_are_not_changed(bench: Bench, base: Path) -> None:
    bench.run("echo changed > /etc/issue; rm /usr/bin/ls; chmod 777 /usr")
    assert (base / "etc/issue").read_text() == "the base\n"
    assert (base / "usr/bin/ls").exists()
    assert stat.S_IMODE((base / "usr").stat().st_mode) == 0o755


def test_names_are_resolved_as_on_the_host_and_that_is_not_in_the_layer(bench: Bench) -> None:
    resolver = Path("/etc/resolv.conf").read_text()
    bench.layers.append(str(bench.place / "more"))
    (bench.place / "more/etc").mkdir(parents=True)
    (bench.place / "more/etc/resolv.conf").write_text("of the image\n")
    assert bench.run("cat /etc/resolv.conf") == resolver
    assert not (bench.diff / "etc/resolv.conf").exists()


def test_a_link_of_the_image_leads_to_its_own_files(bench: Bench, tmp_path: Path) -> None:
    """Also where something is mounted before the step's own code runs."""
    canary = tmp_path / "canary"
    canary.write_text("of the host")
    more = bench.place / "more"
    (more / "etc").mkdir(parents=True)
    (more / "etc/resolv.conf").symlink_to(canary)
    bench.layers.append(str(more))
    assert bench.run("cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text()
    assert canary.read_text() == "of the host"
    (more / "dev").symlink_to(tmp_path)
    with pytest.raises(RuntimeFailedError, match="/dev is a link in this image"):
        bench.start("id")


def test_programs_with_the_rights_of_their_owner_can_be_installed(bench: Bench) -> None:
    bench.run("echo > /program; chmod 4755 /program; chmod 2755 /srv || mkdir -m 2755 /srv")
    assert stat.S_IMODE((bench.diff / "program").stat().st_mode) == 0o4755


def test_a_step_is_root_of_nothing_outside(bench: Bench) -> None:
    """Issue 3, 2: isolated, with the host's processes and files out of reach."""
    told = bench.run("id -u; ls /proc; cat /proc/self/status; ls /; cat /proc/1/cmdline")
    assert told.startswith("0\n")
    pids = [int(word) for word in told.split() if word.isdecimal() and int(word) > 100]
    assert os.getpid() not in pids
    assert "NoNewPrivs:\t1" in told
    effective = int(re.search(r"CapEff:\t(\w+)", told)[1], 16)  # type: ignore[index]  # it is there
    assert not effective & (1 << 21 | 1 << 12 | 1 << 16 | 1 << 19), "admin, network, modules, trace"
    assert "work" not in told.split()


def test_apt_is_told_when_there_is_nobody_to_become(bench: Bench) -> None:
    """It looks whether it is somebody else now. Nothing of that gets into a layer."""
    assert bench.run("echo /etc/ap*; mkdir -p /etc/apt/apt.conf.d") == "/etc/ap*\n"
    bench.layers.append(str(bench.diff))
    script = "(cat /etc/apt/apt.conf.d/*; echo > /etc/apt/apt.conf.d/own) 2>&1"
    assert ("Sandbox" in bench.run(script)) is not HAS_IDS
    assert os.listdir(bench.diff / "etc/apt/apt.conf.d") == ["own"]


@pytest.mark.parametrize(
    "attack",
    [
        "mknod /disk b 254 0 && cat /disk",
        "mknod /dev/mem c 1 1 && cat /dev/mem",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "chown 0 /proc/1/ns/mnt && setpriv --reuid 33 true && echo x > /proc/1/ns/mnt",
        "setpriv --reuid 1000 --clear-groups cat /proc/1/environ > /dev/null && mknod /m b 8 0"
        " && cat /m",
    ],
)
def test_a_step_cannot_reach_the_machine(bench: Bench, attack: str) -> None:
    status, printed = bench.end(bench.start(attack))
    assert status != 0
    reasons = "not permitted|denied|[Rr]ead-only|nonexistent|cannot create|No such file"
    assert re.search(reasons, printed), printed


def test_a_step_is_limited_one_by_one(bench: Bench) -> None:
    told = bench.run("cat /proc/self/limits", limits={"memory_bytes": 1 << 30, "processes": 99})
    assert re.search(r"Max address space +1073741824 +1073741824 ", told)
    assert re.search(r"Max processes +99 +99 ", told)
    assert re.search(r"Max core file size +0 +0 ", told)


def test_a_directory_may_be_shared_with_a_step(bench: Bench, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    bench.run("echo kept > /.volant/uv/file", shared=((str(shared), "/.volant/uv"),))
    assert (shared / "file").read_text() == "kept\n"
    assert (shared / "file").stat().st_uid == os.geteuid()
    assert not (bench.diff / ".volant/uv/file").exists()


def test_what_is_shown_to_a_step_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "file").write_text("shown\n")
    places = ((str(shown), "/.volant/shown"),)
    script = "cat /.volant/shown/file; echo x > /.volant/shown/file || echo refused"
    printed = bench.run(script, readable=places)
    assert printed.startswith("shown\n")
    assert printed.endswith("refused\n")
    assert (shown / "file").read_text() == "shown\n"


def test_the_end_of_a_step_is_told(bench: Bench) -> None:
    status, printed = bench.end(bench.start("echo out; echo err >&2; exit 7"))
    assert os.waitstatus_to_exitcode(status) == 7
    assert printed == "out\nerr\n"


def test_a_step_that_is_killed_takes_along_what_it_started(bench: Bench) -> None:
    step = bench.start("sleep 1000 & sleep 1000")
    step.kill()
    status, _ = bench.end(step)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_what_a_step_leaves_running_ends_with_it(bench: Bench) -> None:
    """The pipe of its output would stay open otherwise, and this would wait for ever."""
    assert bench.run("sleep 1000 & echo done") == "done\n"


def test_a_missing_program_is_named(bench: Bench) -> None:
    with pytest.raises(RuntimeFailedError, match="/bin/absent"):
        bench.start("", argv=("/bin/absent",))


def test_an_image_of_nothing_has_a_root(bench: Bench) -> None:
    bench.layers.clear()
    with pytest.raises(RuntimeFailedError, match="cannot be executed in this image"):
        bench.start("id")


def test_a_step_starts_where_it_is_told(bench: Bench) -> None:
    assert bench.run("pwd; cat /proc/self/environ", cwd="/a/new/place").startswith("/a/new/place\n")
    assert (bench.diff / "a/new/place").is_dir()
