"""GPUs: asked for, waited for, and given to one container each.

Most of this needs no GPU: nodes of other devices stand in, under the names that the driver gives.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import granting
from tests.behaviours.programs import APPS, ask, at_home, containers
from tests.support import ROOT, eventually, run_volant
from volantd.agent import gpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABSENT = """
import volant

app = volant.App("without")

@app.function(gpu="h100:2")
def heavy():
    return "heavy"

@app.function()
def light():
    return "light"

@app.local_entrypoint()
def main():
    call = heavy.spawn()
    print(light.remote())
    try:
        call.get(timeout=0.5)
    except volant.errors.TimeoutError:
        print("waits")
"""


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a daemon that takes its machine to have four GPUs."""
    if os.geteuid() != 0:
        pytest.skip("only root can make device nodes")
    home, nodes = tmp_path_factory.mktemp("gpu-home"), tmp_path_factory.mktemp("nodes")
    home.chmod(0o700)
    for name, minor in {"nvidiactl": 3, **{f"nvidia{index}": 5 for index in range(4)}}.items():
        os.mknod(nodes / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        (nodes / name).chmod(0o666)
    ready, theirs = os.pipe()
    environ = {**os.environ, "VOLANT_HOME": str(home)}
    words = [sys.executable, str(APPS / "gpu_daemon.py"), str(nodes), "--ready-fd", str(theirs)]
    daemon = subprocess.Popen(words, env=environ, pass_fds=[theirs], cwd=APPS)
    os.close(theirs)
    try:
        assert os.read(ready, 1) == b"1", (home / "daemon.log").read_text()
        eventually(lambda: ask(home, "server_status")["gpus"], within_s=20.0)
        with at_home(home), granting.app.run():
            yield home
    finally:
        os.close(ready)
        daemon.terminate()
        daemon.wait(20)


def _owners(home: Path) -> list[str]:
    return [row["container_id"] for row in ask(home, "server_status")["gpus"]]


def test_a_function_whose_gpu_is_absent_waits_and_the_others_run(
    volant_home: Path, tmp_path: Path
) -> None:
    """Behaviour 138: the app runs, only that function waits, and it is said what for."""
    if gpus.discover().devices:
        pytest.skip("this machine has a GPU")
    program = tmp_path / "without.py"
    program.write_text(ABSENT)
    done = run_volant("run", str(program), home=volant_home)
    assert done.stdout == "light\nwaits\n"
    assert "`heavy` is waiting for a GPU: H100:2; this machine has none" in done.stderr


def test_a_function_is_tried_without_its_gpu_where_that_is_the_setting(
    volant_home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "tried.py"
    program.write_text(
        "import volant\napp = volant.App('tried')\n"
        "@app.function(gpu='H100:8')\ndef heavy():\n    return 'ran'\n"
    )
    done = run_volant("run", str(program), home=volant_home, env={"VOLANT_WITHOUT_GPUS": "1"})
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


def test_a_container_gets_the_devices_that_it_asked_for_and_sees_no_others(four: Path) -> None:
    names, nodes = granting.two.remote()
    numbers = [int(name.removeprefix("GPU-")) for name in names.split(",")]
    assert nodes == [f"nvidia{number}" for number in numbers] + ["nvidiactl"]
    [row] = containers(four, function="two")
    owners = _owners(four)
    assert [owners[number] for number in numbers] == [row["container_id"]] * 2
    other, nodes = granting.whichever.remote()
    assert other not in names
    assert nodes == [other.lower().replace("gpu-", "nvidia"), "nvidiactl"]


def test_a_container_of_a_function_without_gpus_has_none(four: Path) -> None:
    assert granting.none.remote() == ("", [])


def test_devices_go_to_whoever_waits_once_their_container_can_be_spared(four: Path) -> None:
    granting.two.remote()
    held = list(granting.two_slowly.map(range(4)))
    assert set(held) <= {"GPU-0,GPU-1", "GPU-2,GPU-3"}
    assert granting.two.remote()[0] in {"GPU-0,GPU-1", "GPU-2,GPU-3"}


def test_another_option_of_gpus_makes_another_pool(four: Path) -> None:
    assert granting.none.with_options(gpu="h100").remote()[1][-1] == "nvidiactl"


def test_who_asks_for_what_others_have_is_told_which_there_are(
    four: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call = granting.absent.spawn()
    with pytest.raises(volant.errors.TimeoutError):
        call.get(timeout=0.3)
    told = "`absent` is waiting for a GPU: B200; this machine has H100:4"
    assert told in capfd.readouterr().err
    call.cancel()


def test_user_code_gives_nobody_gpus_that_its_own_function_has_not(four: Path) -> None:
    told = granting.asks_for_more.remote()
    assert "GPUs that its own function has not" in told


def test_a_sandbox_gets_devices_and_has_them_until_its_end(four: Path) -> None:
    sandbox = volant.Sandbox.create(app=granting.app, gpu="h100:3")
    told = sandbox.exec("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; ls /dev | grep nvidia")
    names, *nodes = told.stdout.read().splitlines()
    numbers = [int(name.removeprefix("GPU-")) for name in names.split(",")]
    assert nodes == [f"nvidia{number}" for number in numbers] + ["nvidiactl"]
    owner, *others = {_owners(four)[number] for number in numbers}
    assert (owner[:3], others) == ("ta-", [])
    none = volant.Sandbox.create(app=granting.app)
    assert none.exec("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; ls /dev").wait() == 0
    assert "nvidia" not in none.exec("ls", "/dev").stdout.read()
    call = granting.two.spawn()
    waiting = volant.Sandbox.create(app=granting.app, gpu="any:4")
    with pytest.raises(volant.errors.TimeoutError):
        call.get(timeout=0.5)
    assert waiting.poll() is None
    sandbox.terminate(wait=True)
    assert len(call.get(timeout=60)[1]) == 3
    assert waiting.exec("true").wait() == 0
    assert set(_owners(four)) & {""} == set()
    for one in (waiting, none):
        one.terminate(wait=True)
    assert granting.two.remote()[1]


def test_a_sandbox_that_waits_for_devices_can_be_ended(four: Path) -> None:
    first = volant.Sandbox.create(app=granting.app, gpu="any:4")
    assert first.exec("true").wait() == 0
    second = volant.Sandbox.create(app=granting.app, gpu="any:4")
    assert second.terminate(wait=True) == 137
    third = volant.Sandbox.create(app=granting.app, gpu="any:4")
    first.terminate(wait=True)
    assert third.exec("true").wait() == 0
    third.terminate(wait=True)
    absent = volant.Sandbox.create(app=granting.app, gpu="B200:2")
    with pytest.raises(volant.errors.ResourceExhaustedError, match="B200:2; this machine has H100"):
        absent.wait()


def test_the_status_of_the_server_shows_each_device(four: Path) -> None:
    shown = run_volant("server", "status", home=four).stdout
    assert "0: H100 80 GiB" in shown
    assert "free" in shown or "ta-" in shown


def test_cuda_runs_on_the_device_that_was_granted(volant_home: Path) -> None:
    """On a machine with a GPU: CUDA sees one device however many there are, and computes there."""
    if not gpus.discover().devices:
        pytest.skip("there is no GPU on this machine")
    with at_home(volant_home), granting.cuda_app.run():
        assert granting.on_the_device.remote(b"there and back") == (1, b"there and back")


def test_the_example_computes_on_the_device(volant_home: Path) -> None:
    if not gpus.discover().devices:
        pytest.skip("there is no GPU on this machine")
    pytest.importorskip("torch")
    name = "gpu_inference.py"
    done = run_volant("run", f"examples/{name}", home=volant_home, within_s=120.0)
    assert done.returncode == 0, done.stderr
    promised = (ROOT / "examples" / name).read_text().partition(f"examples/{name}\n")[2]
    assert done.stdout.startswith(promised.partition("\n\n")[0]), done.stdout
