"""Containers beside a sandbox, in its network; behaviour 124 of the reference."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

import volant
from tests import gvisor
from tests.behaviours.image_builds import bare_image
from tests.behaviours.programs import ask, is_alive
from tests.support import eventually, run_volant
from volant.errors import (
    AlreadyExistsError,
    ClientClosed,
    ExecutionError,
    ImageBuildError,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
    SandboxTerminatedError,
    UnimplementedError,
)
from volantd.hub.sandboxes.book import SIDECARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from volant.sdk.sandboxes.process import ContainerProcess

app = volant.App("of-sidecars")
#: Answers whoever connects, once it has said that it does.
SERVE = """
import socket
listener = socket.create_server(({host!r}, {port}))
print("serving", flush=True)
while True:
    sock, _ = listener.accept()
    sock.sendall(b"hello from " + {name!r}.encode())
    sock.close()
"""
ASK = "import socket; print(socket.create_connection(('127.0.0.1', {port}), 10).recv(100).decode())"


@pytest.fixture(scope="module", autouse=True)
def _running(volant_home: Path) -> Iterator[None]:
    with app.run():
        yield


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    """An image with a shell and without Python."""
    with bare_image("sidecars", {}) as image:
        yield image


@pytest.fixture
def sandbox() -> Iterator[volant.Sandbox]:
    made = volant.Sandbox.create(app=app, block_network=True)
    yield made
    made.terminate(wait=True)


def serve(of: volant.Sandbox | volant.types.SidecarContainer, name: str, port: int) -> None:
    """Have something answer at a port until the container ends."""
    code = SERVE.format(host="127.0.0.1", port=port, name=name)
    assert next(iter(of.exec("python3", "-c", code).stdout)) == "serving\n"


def told(of: volant.Sandbox | volant.types.SidecarContainer, *words: str) -> str:
    """What a command prints."""
    process = of.exec(*words)
    printed = process.stdout.read() + process.stderr.read()
    assert process.wait() == 0, printed
    return printed.strip()


@pytest.mark.parametrize(
    "network", [{}, {"block_network": True}, {"outbound_cidr_allowlist": ["192.0.2.0/24"]}]
)
def test_what_one_serves_the_other_reaches_at_loopback(network: dict[str, object]) -> None:
    """Behaviour 124: loopback stays, whatever is allowed outside."""
    sandbox = volant.Sandbox.create(app=app, unencrypted_ports=[8801], **network)
    sidecar = sandbox.sidecars.create(name="server")
    serve(sidecar, "the sidecar", 8801)
    serve(sandbox, "the sandbox", 8802)
    assert told(sandbox, "python3", "-c", ASK.format(port=8801)) == "hello from the sidecar"
    assert told(sidecar, "python3", "-c", ASK.format(port=8802)) == "hello from the sandbox"
    second = sandbox.sidecars.create(name="client")
    assert told(second, "python3", "-c", ASK.format(port=8801)) == "hello from the sidecar"
    host, port = sandbox.tunnels()[8801].tcp_socket
    outside = ASK.format(port=port).replace("127.0.0.1", host)
    here = volant.Sandbox.create(app=app)
    assert told(here, "python3", "-c", outside) == "hello from the sidecar"
    for one in (sandbox, here):
        one.terminate(wait=True)


def test_other_sandboxes_have_other_networks(sandbox: volant.Sandbox) -> None:
    serve(sandbox.sidecars.create(name="server"), "the sidecar", 8803)
    other = volant.Sandbox.create(app=app, block_network=True)
    beside = other.sidecars.create(name="beside")
    for one in (other, beside):
        assert one.exec("python3", "-c", ASK.format(port=8803)).wait() == 1
    other.terminate(wait=True)


def test_a_sidecar_has_files_and_processes_of_its_own(
    sandbox: volant.Sandbox, bare: volant.Image
) -> None:
    sandbox.filesystem.write_text("the sandbox's", "/tmp/mine")
    sidecar = sandbox.sidecars.create("sleep", "1000", name="bare", image=bare)
    same = sandbox.sidecars.create("sleep", "1001", name="same")
    sidecar.filesystem.write_text("the sidecar's", "/srv/its")
    assert told(sidecar, "sh", "-c", "ls /tmp; cat /srv/its") == "the sidecar's"
    assert sidecar.exec("python3", "-c", "").wait() == 127, "its image has no Python"
    assert same.exec("cat", "/tmp/mine").wait() == 1
    assert sandbox.exec("ls", "/srv/its").wait() != 0
    own = "cat /proc/[0-9]*/cmdline"
    assert "sleep" not in told(sandbox, "sh", "-c", own)
    assert "sleep\0001001" in told(same, "sh", "-c", own)
    assert "sleep\0001001" not in told(sidecar, "sh", "-c", own)
    assert told(sandbox, "uname", "-n") != told(same, "uname", "-n")


def test_abstract_sockets_belong_to_the_network(sandbox: volant.Sandbox) -> None:
    """As the documents say."""
    sidecar = sandbox.sidecars.create(name="beside")
    code = "import socket; sock = socket.socket(socket.AF_UNIX); sock.bind('\\0shared')"
    holder = sandbox.exec("python3", "-c", f"{code}; print('bound', flush=True); input()")
    assert next(iter(holder.stdout)) == "bound\n"
    seen = sidecar.exec("python3", "-c", code).stderr.read()
    assert ("in use" in seen) == (gvisor.default_runtime() == "container"), seen
    assert holder.poll() is None
    other = volant.Sandbox.create(app=app, block_network=True)
    assert other.exec("python3", "-c", code).wait() == 0
    other.terminate(wait=True)


def test_a_sidecar_gets_what_create_is_told(sandbox: volant.Sandbox, bare: volant.Image) -> None:
    """Reference 1.11."""
    with volant.Volume.ephemeral() as volume:
        sidecar = sandbox.sidecars.create(
            "sh", "-c", "echo $A $B; pwd; read line; echo got $line; exit 7", name="told",
            image=bare, env={"A": "plain"}, secrets=[volant.Secret.from_dict({"B": "secret"})],
            workdir="/srv/work", volumes={"/data": volume}, memory=256, cpu=0.5,
        )  # fmt: skip
        sidecar.exec("sh", "-c", "echo kept > /data/file").wait()
        sidecar.stdin.write("it\n")
        sidecar.stdin.write_eof()
        sidecar.stdin.drain()
        assert sidecar.wait() == 7
        assert (sidecar.poll(), sidecar.returncode) == (7, 7)
        assert sidecar.stdout.read() == "plain secret\n/srv/work\ngot it\n"
        assert sidecar.logs.tail()[-1].message.strip() == "got it"
        assert b"".join(volume.read_file("/file")) == b"kept\n"
    assert sandbox.poll() is None


def test_what_makes_no_sense_is_refused(sandbox: volant.Sandbox, bare: volant.Image) -> None:
    """Behaviour 124."""
    create = sandbox.sidecars.create
    with pytest.raises(InvalidError, match="workdir must be an absolute path, got 'there'"):
        create(name="wrong", workdir="there")
    with pytest.raises(InvalidError, match="cannot be the name"):
        create(name="with space")
    with pytest.raises(InvalidError, match=r"arguments of sidecars\.create are strings"):
        create(1, name="wrong")
    with pytest.raises(UnimplementedError, match="proxy"):
        create(name="wrong", proxy="somebody")
    with pytest.raises(UnimplementedError, match="memory is its own"):
        create(name="wrong", experimental_memory_reserve_consume_mib=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'gpu'"):
        create(name="wrong", gpu="any")
    built = volant.Sandbox.create(app=app, image=bare)
    with pytest.raises(InvalidError, match="cannot have this machine for its image"):
        built.sidecars.create(name="wrong", image=volant.Image.host())
    missing = bare.run_commands("exit 3")
    for _ in range(2):
        with pytest.raises(ImageBuildError):
            built.sidecars.create(name="wrong", image=missing)
    assert built.sidecars.list() == []
    built.terminate(wait=True)
    with pytest.raises(ExecutionError, match="has finished"):
        built.sidecars.create(name="late")
    built.detach()
    with pytest.raises(ClientClosed):
        built.sidecars.create(name="late")


def test_a_sidecar_is_found_by_its_name(sandbox: volant.Sandbox, volant_home: Path) -> None:
    sidecars = sandbox._experimental_sidecars
    made = [sidecars.create(name=f"number-{count}") for count in range(SIDECARS_MAX)]
    with pytest.raises(AlreadyExistsError, match="has a sidecar `number-1` already"):
        sidecars.create(name="number-1")
    with pytest.raises(ResourceExhaustedError, match=f"has {SIDECARS_MAX} sidecars"):
        sidecars.create(name="one-more")
    assert sidecars.get("number-1").object_id == made[1].object_id
    with pytest.raises(NotFoundError) as raised:
        sidecars.get("numbr-1")
    assert "did you mean number-1" in raised.value.hint
    assert [one.name for one in sidecars.list()] == [one.name for one in made]
    assert made[1].terminate(wait=True) == 137
    with pytest.raises(NotFoundError):
        sidecars.get("number-1")
    assert sidecars.get("number-1", include_terminated=True).poll() == 137
    again = sidecars.create(name="number-1")
    assert sidecars.get("number-1", include_terminated=True).object_id == again.object_id
    assert len(sidecars.list(include_terminated=True)) == SIDECARS_MAX + 1
    with pytest.raises(InvalidError, match="is a sidecar, for which there is no other name"):
        ask(volant_home, "sandbox_set_name", sandbox_id=again.object_id, name="other")
    by_id = volant.Sandbox.from_id(again.object_id)
    with pytest.raises(InvalidError, match="is a sidecar, for which there is no sidecar"):
        by_id.sidecars.create(name="nested")
    with pytest.raises(InvalidError, match="is a sidecar, for which there is no token"):
        by_id.create_connect_token()


def test_lists_tell_sidecars_from_sandboxes(sandbox: volant.Sandbox, volant_home: Path) -> None:
    sidecar = sandbox.sidecars.create(name="listed")
    assert sidecar.object_id not in [one.object_id for one in volant.Sandbox.list()]
    with pytest.raises(NotFoundError):
        volant.Sandbox.from_name(app.name, "listed")
    found = run_volant("sandbox", "list", "--json", home=volant_home)
    of = {row["sandbox_id"]: row["sidecar_of"] for row in json.loads(found.stdout)}
    assert of[sidecar.object_id] == sandbox.object_id
    assert of[sandbox.object_id] is None
    table = run_volant("sandbox", "list", home=volant_home).stdout.splitlines()
    [line] = [line for line in table if line.startswith(sidecar.object_id)]
    assert line.split()[1:3] == ["listed", sandbox.object_id]
    run = run_volant("sandbox", "exec", sidecar.object_id, "--", "echo", "here", home=volant_home)
    assert (run.returncode, run.stdout) == (0, "here\n")
    run = run_volant("sandbox", "exec", "listed", "true", home=volant_home)
    assert (run.returncode, "no sandbox `listed`" in run.stderr) == (2, True)


@pytest.mark.parametrize("way", ["terminated", "timed out", "idle", "killed", "its program"])
def test_it_ends_with_its_sandbox(way: str, volant_home: Path) -> None:
    program = ("sh", "-c", "read _") if way == "its program" else ()
    times = {"timed out": {"timeout": 2}, "idle": {"idle_timeout": 1}}.get(way, {})
    sandbox = volant.Sandbox.create(*program, app=app, block_network=True, **times)
    sidecar = sandbox.sidecars.create("sleep", "1000", name="beside")
    rows = ask(volant_home, "sidecar_list", sandbox_id=sandbox.object_id, with_finished=False)
    pid = rows["sandboxes"][0]["pid"]
    row = ask(volant_home, "sandbox_show", sandbox_id=sandbox.object_id)
    if way == "terminated":
        sandbox.terminate()
    elif way == "killed":
        os.kill(row["pid"], signal.SIGKILL)
    elif way == "its program":
        sandbox.stdin.write_eof()
        sandbox.stdin.drain()
    eventually(lambda: sandbox.poll() is not None, within_s=30)
    assert sidecar.poll() == 137, "nothing of it runs once its sandbox has finished"
    assert not is_alive(pid)
    with pytest.raises(SandboxTerminatedError, match="its sandbox has ended"):
        sidecar.wait()


def test_it_ends_alone_and_its_sandbox_goes_on(sandbox: volant.Sandbox, volant_home: Path) -> None:
    killed = sandbox.sidecars.create(name="killed")
    row = ask(volant_home, "sandbox_show", sandbox_id=killed.object_id)
    os.kill(row["pid"], signal.SIGKILL)
    assert killed.wait(raise_on_termination=False) == 137
    ended = sandbox.sidecars.create("true", name="ended")
    assert ended.wait() == 0
    assert sandbox.exec("true").wait() == 0
    assert sandbox.sidecars.create(name="killed").exec("true").wait() == 0


def _end(cat: ContainerProcess[Any]) -> None:
    cat.stdin.write_eof()
    cat.stdin.drain()
    assert cat.wait() == 0


def test_who_uses_a_sidecar_uses_its_sandbox() -> None:
    """It is not idle as long as a command runs beside it."""
    sandbox = volant.Sandbox.create(app=app, block_network=True, idle_timeout=1)
    made = sandbox.exec("cat")  # making a sidecar may take as long as it may be idle
    sidecar = sandbox.sidecars.create("sleep", "1000", name="used")
    used = sidecar.exec("cat")
    _end(made)
    other = volant.Sandbox.create(app=app, idle_timeout=1.5)  # its whole time passes meanwhile
    assert other.wait(raise_on_termination=False) == 137
    assert sandbox.poll() is None
    _end(used)
    with pytest.raises(SandboxTerminatedError, match="idle"):
        sandbox.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can freeze control groups")
def test_a_sidecar_stands_still_with_its_sandbox(sandbox: volant.Sandbox) -> None:
    sidecar = sandbox.sidecars.create("sh", "-c", "while read l; do echo $l; done", name="echo")
    sandbox.pause()
    with pytest.raises(ExecutionError, match="is paused"):
        sidecar.exec("true")
    with pytest.raises(ExecutionError, match="is paused"):
        sandbox.sidecars.create(name="late")
    sandbox.resume()
    assert sidecar.exec("true").wait() == 0
    sandbox.pause()
    assert sandbox.terminate(wait=True) == 137
    assert sidecar.poll() == 137


def test_copies_are_of_sandboxes_that_are_alone(
    sandbox: volant.Sandbox, bare: volant.Image
) -> None:
    sidecar = sandbox.sidecars.create(name="beside", image=bare)
    for copy in (sandbox.fork, sandbox._experimental_snapshot):
        with pytest.raises(InvalidError, match=r"has sidecars, so there is no .*: beside"):
            copy()
    with pytest.raises(InvalidError, match="is a sidecar, for which there is no fork"):
        volant.Sandbox.from_id(sidecar.object_id).fork()
    sidecar.exec("sh", "-c", "mkdir -p /srv; echo written > /srv/file").wait()
    image = sidecar.snapshot_filesystem()
    copied = sandbox.sidecars.create(name="copy", image=image)
    assert copied.filesystem.read_text("/srv/file") == "written\n"


def test_all_of_it_is_there_for_asyncio(sandbox: volant.Sandbox) -> None:
    async def use() -> tuple[str, list[str], int | None]:
        sidecars = sandbox._experimental_sidecars
        made = await sidecars.create.aio("sleep", "1000", name="awaited")
        process = await made.exec.aio("echo", "said")
        said = await process.stdout.read.aio()
        names = [one.name for one in await sidecars.list.aio()]
        assert (await sidecars.get.aio("awaited")).object_id == made.object_id
        return said, names, await made.terminate.aio(wait=True)

    assert asyncio.run(use()) == ("said\n", ["awaited"], 137)


def test_files_that_come_with_an_image_are_there(
    sandbox: volant.Sandbox, bare: volant.Image, tmp_path: Path
) -> None:
    (tmp_path / "note").write_text("local")
    os.chdir(tmp_path)
    image = bare.add_local_file(str(tmp_path / "note"), "/root/note")
    sidecar = sandbox.sidecars.create(name="with-files", image=image)
    assert told(sidecar, "cat", "/root/note") == "local"
    assert sandbox.exec("cat", "/root/note").wait() == 1


def test_functions_make_them_too() -> None:
    """Sidecars of sandboxes of their own app; and the daemon gives them no more than that."""
    own = volant.App("making-sidecars")

    @own.function(serialized=True)
    def make() -> tuple[str, list[str]]:
        sandbox = volant.Sandbox.create(block_network=True)
        sidecar = sandbox.sidecars.create(name="inner", outbound_cidr_allowlist=None)
        said = sidecar.exec("echo", "made").stdout.read()
        names = [one.name for one in sandbox.sidecars.list()]
        sandbox.terminate(wait=True)
        return said, names

    with own.run():
        assert make.remote() == ("made\n", ["inner"])
