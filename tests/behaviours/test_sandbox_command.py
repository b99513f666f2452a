"""`volant sandbox`: what a person sees and does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import volant
from tests.support import VOLANT, run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("commanded")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        made = volant.Sandbox.create(
            "sh", "-c", "echo printed; cat", app=app, name="shown", tags={"user": "ada"}
        )
        assert next(iter(made.stdout)) == "printed\n"
        yield made


def test_sandboxes_are_listed(volant_home: Path, sandbox: volant.Sandbox) -> None:
    run = run_volant("sandbox", "list", home=volant_home)
    assert run.returncode == 0
    row = next(line for line in run.stdout.splitlines() if sandbox.object_id in line)
    assert "shown  commanded  started" in row
    found = run_volant("sandbox", "list", "--tag", "user=ada", "--json", home=volant_home)
    [told] = json.loads(found.stdout)
    assert (told["sandbox_id"], told["state"]) == (sandbox.object_id, "started")
    none = run_volant("sandbox", "list", "--tag", "user=eve", home=volant_home)
    assert (none.stdout, none.stderr) == ("", "no sandboxes\n")
    wrong = run_volant("sandbox", "list", "--tag", "user", home=volant_home)
    assert wrong.returncode == 2


def test_a_command_is_run_with_its_streams_and_its_code(
    volant_home: Path, sandbox: volant.Sandbox
) -> None:
    words = ("sh", "-c", "echo out; echo err >&2; exit 7")
    run = run_volant("sandbox", "exec", sandbox.object_id, "--", *words, home=volant_home)
    assert (run.returncode, run.stdout, run.stderr) == (7, "out\n", "err\n")
    run = run_volant("shell", sandbox.object_id, "--cmd", "sh -c 'exit 5'", home=volant_home)
    assert run.returncode == 5
    run = run_volant("sandbox", "exec", sandbox.object_id[:-1], "true", home=volant_home)
    assert run.returncode == 2
    assert f"did you mean {sandbox.object_id}?" in run.stderr


def test_what_its_program_printed_is_shown(volant_home: Path, sandbox: volant.Sandbox) -> None:
    run = run_volant("sandbox", "logs", sandbox.object_id, home=volant_home)
    assert (run.returncode, run.stdout) == (0, "printed\n")


def test_a_sandbox_is_named_by_the_name_that_it_has(
    volant_home: Path, sandbox: volant.Sandbox
) -> None:
    run = run_volant("sandbox", "exec", "shown", "--", "echo", "$HOME", home=volant_home)
    assert (run.returncode, run.stdout) == (0, "$HOME\n")
    wrong = run_volant("sandbox", "exec", "shownn", "true", home=volant_home)
    assert wrong.returncode == 2
    assert "there is no sandbox `shownn`" in wrong.stderr
    assert "did you mean `shown`?" in wrong.stderr
    assert run_volant("sandbox", "logs", "shown", home=volant_home).stdout == "printed\n"


def test_a_sandbox_is_made_and_goes_on(volant_home: Path) -> None:
    options = ("--name", "made", "--env", "COLOUR=blue", "--env", "HOME", "--tag", "kind=made")
    run = run_volant("sandbox", "create", *options, "--workdir", "/made", home=volant_home)
    assert run.returncode == 0, run.stderr
    found = volant.Sandbox.from_name("sandboxes", "made")
    assert run.stdout == f"{found.object_id}\n"
    shown = run_volant(
        "sandbox", "exec", "made", "--", "sh", "-c", "pwd; echo $COLOUR", home=volant_home
    )
    assert shown.stdout == "/made\nblue\n"
    twice = run_volant("sandbox", "create", "--name", "made", home=volant_home)
    assert (twice.returncode, "`made` already" in twice.stderr) == (3, True)
    program = run_volant("sandbox", "create", "--json", "--", "sh", "-c", "exit 4",
                         home=volant_home)  # fmt: skip
    told = json.loads(program.stdout)
    assert volant.Sandbox.from_id(told["sandbox_id"]).wait() == 4
    stopped = run_volant("sandbox", "stop", "made", "--json", home=volant_home)
    assert json.loads(stopped.stdout)[0]["code"] == 137
    listed = run_volant("sandbox", "list", "--all", home=volant_home).stdout
    row = next(line for line in listed.splitlines() if found.object_id in line)
    assert "137   it was terminated by a request" in row


@pytest.mark.usefixtures("sandbox")
def test_a_list_says_why_one_never_started(volant_home: Path) -> None:
    made = volant.Sandbox.create(app=app, gpu="B300:8")
    with pytest.raises(volant.errors.ResourceExhaustedError):
        made.wait()
    listed = json.loads(run_volant("sandbox", "list", "-a", "--json", home=volant_home).stdout)
    reasons = [one["result"]["reason"] for one in listed if one["sandbox_id"] == made.object_id]
    assert reasons[0].startswith("it could not be started: sandbox "), reasons
    assert "asks for a GPU that is not there: B300:8" in reasons[0]


def test_a_command_is_run_in_a_sandbox_of_its_own(volant_home: Path) -> None:
    secret = ("secret", "create", "of-command", "TOKEN=hidden", "--force")
    assert run_volant(*secret, home=volant_home).returncode == 0
    words = ("--", "sh", "-c", "echo $COLOUR $TOKEN; cat; exit 6")
    run = run_volant("sandbox", "run", "--env", "COLOUR=red", "--secret", "of-command", *words,
                     home=volant_home, stdin="typed\n")  # fmt: skip
    assert (run.returncode, run.stdout) == (6, "red hidden\ntyped\n")
    run = run_volant("sandbox", "run", "--timeout", "0.2", "--", "sleep", "60", home=volant_home)
    assert run.returncode == 137
    told = "volant: the command has ended with its sandbox: its timeout of 0.2 s is over\n"
    assert run.stderr == told
    for words in (("--env", "=x"), ("--env", "NOBODY_HAS_THIS"), ("--volume", "/data"), ()):
        refused = run_volant("sandbox", "run", *words, "--", *(["true"] if words else []),
                             home=volant_home)  # fmt: skip
        assert refused.returncode == 2, refused


def test_files_and_directories_are_copied_both_ways(
    volant_home: Path, sandbox: volant.Sandbox, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "deep/empty").mkdir(parents=True)
    (tree / "deep/file").write_text("content")
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o750)
    (tree / "link").symlink_to("run.sh")
    (tree / "loop").symlink_to(".")

    def cp(*words: str) -> subprocess.CompletedProcess[str]:
        return run_volant("sandbox", "cp", *words, home=volant_home)

    done = cp(str(tree), f"{sandbox.object_id}:/root/in")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"left out: {tree}/loop\ncopied 3 files, 0.0 MiB\n"
    shown = sandbox.exec("sh", "-c", "cd /root/in; find . | sort; ./link; stat -c %a run.sh")
    assert shown.stdout.read().split() == [
        ".", "./deep", "./deep/empty", "./deep/file", "./link", "./run.sh", "ran", "750",
    ]  # fmt: skip
    told = json.loads(cp(str(tree / "run.sh"), "shown:/root/", "--json").stdout)
    assert told == {"files": 1, "size_bytes": 19, "left_out": []}
    assert sandbox.filesystem.read_text("/root/run.sh").endswith("ran\n")

    straight = cp("shown:/root/run.sh", "-")
    assert (straight.stdout, straight.stderr) == ("#!/bin/sh\necho ran\n", "")
    assert "is a directory" in cp("shown:/root/in", "-").stderr

    sandbox.exec("sh", "-c", "cd /root/in; rm link; ln -s deep/file link; ln -s ../.. out;"
                 "ln -s /etc/passwd abs; mkfifo pipe; ln -s ../run.sh deep/up").wait()  # fmt: skip
    done = cp("shown:/root/in", str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stderr.splitlines()[:3]) == [
        "left out: /root/in/abs", "left out: /root/in/out", "left out: /root/in/pipe",
    ]  # fmt: skip
    back = tmp_path / "back"
    assert (back / "link").readlink().as_posix() == "deep/file"
    assert (back / "deep/up").read_text().endswith("ran\n")
    assert sorted(one.name for one in back.iterdir()) == ["deep", "link", "run.sh"]
    assert cp("shown:/root/in/run.sh", str(back)).returncode == 0
    assert cp("shown:/root/in", str(back)).returncode == 0
    assert (back / "in/deep/empty").is_dir()


def test_a_copy_to_whoever_reads_no_more_ends_in_silence(
    volant_home: Path, sandbox: volant.Sandbox
) -> None:
    sandbox.exec("truncate", "-s", "64M", "/srv/large").wait()
    words = [str(VOLANT), "sandbox", "cp", "shown:/srv/large", "-"]
    environ = {**os.environ, "VOLANT_HOME": str(volant_home)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environ}
    with subprocess.Popen(words, **pipes) as copying:
        assert copying.stdout is not None and copying.stderr is not None
        assert copying.stdout.read(5) == bytes(5)
        copying.stdout.close()
        assert copying.stderr.read() == b""
    assert copying.returncode == 141


def test_a_large_copy_tells_how_far_it_is(
    volant_home: Path, sandbox: volant.Sandbox, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(48 << 20)
    words = [str(VOLANT), "sandbox", "cp", str(large), "shown:/root/large"]
    shown = _on_terminal(words, volant_home)
    assert "copied 0 files, 17" in shown or "copied 0 files, 16" in shown
    assert shown.endswith("copied 1 file, 48.0 MiB")
    words = [str(VOLANT), "sandbox", "cp", "shown:/root/large", str(tmp_path / "back")]
    assert _on_terminal(words, volant_home).endswith("copied 1 file, 48.0 MiB")
    assert (tmp_path / "back").stat().st_size == 48 << 20


def _on_terminal(words: list[str], home: Path) -> str:
    """What a command says to a person's terminal."""
    leader, follower = os.openpty()
    environ = {**os.environ, "VOLANT_HOME": str(home), "NO_COLOR": "1"}
    subprocess.run(words, stderr=follower, env=environ, check=True)
    os.close(follower)
    printed = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody has it open any more
        while data := os.read(leader, 4096):
            printed += data
    os.close(leader)
    return printed.decode().strip()


def test_copies_that_make_no_sense_say_so(
    volant_home: Path, sandbox: volant.Sandbox, tmp_path: Path
) -> None:
    for words, text in (
        (("a", "b"), "one of both is in a sandbox"),
        (("a", "shown:b"), "a path in a sandbox must be absolute, got `b`"),
        (("shown:/a", "shown:/b"), "one of both is in a sandbox"),
        ((str(tmp_path / "none"), "shown:/root/"), "No such file"),
        (("shown:/none", str(tmp_path)), "no such file"),
        (("shown:/etc/hosts", f"{tmp_path}/link"), "a link lies where"),
        (("nobody:/a", str(tmp_path)), "there is no sandbox `nobody`"),
        (("sb-none:/a", str(tmp_path)), "no sandbox"),
    ):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("/nowhere/outside")
        run = run_volant("sandbox", "cp", *words, home=volant_home)
        assert run.returncode in (1, 2, 3), run
        assert text in run.stderr, run


def test_sandboxes_are_stopped(volant_home: Path, sandbox: volant.Sandbox) -> None:
    made = [volant.Sandbox.create("cat", app=app).object_id for _ in range(2)]
    run = run_volant("sandbox", "stop", *made, home=volant_home)
    assert run.stdout.splitlines() == [f"stopped {one}" for one in made]
    told = run_volant("sandbox", "list", "--all", "--json", home=volant_home)
    codes = {row["sandbox_id"]: row["result"] for row in json.loads(told.stdout)}
    assert [codes[one]["code"] for one in made] == [137, 137]
    refused = run_volant("container", "exec", sandbox.object_id, "true", home=volant_home)
    assert refused.returncode == 2


@pytest.mark.parametrize("command", ["exec", "fork", "logs", "pause", "resume", "snapshot", "stop"])
def test_a_sandbox_is_meant_by_its_name_and_one_like_it_is_named(
    volant_home: Path, sandbox: volant.Sandbox, command: str
) -> None:
    words = ["--", "true"] if command == "exec" else []
    run = run_volant("sandbox", command, "shwn", *words, home=volant_home)
    assert run.returncode == 2
    assert "did you mean `shown`?" in run.stderr
