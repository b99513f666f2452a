"""Sandboxes: made, found, ended; behaviours 114, 117 to 121, 123 and 124 of the reference."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

import volant
from tests.support import eventually
from volant import errors
from volant.errors import (
    AlreadyExistsError,
    ClientClosed,
    ExecutionError,
    InvalidError,
    NotFoundError,
    SandboxTerminatedError,
    SandboxTimeoutError,
    UnimplementedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("sandboxes")
#: A server of one file, for whoever has a Python.
SERVER = ("python3", "-m", "http.server", "8000")


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with app.run():
        yield


@pytest.fixture(scope="module")
def idling() -> Iterator[volant.Sandbox]:
    """A sandbox without a program."""
    made = volant.Sandbox.create(app=app)
    yield made
    made.terminate(wait=True)


@app.function()
def run_in(sandbox: volant.Sandbox) -> tuple[bool, str, volant.Sandbox]:
    """Uses a sandbox that came as an argument, and returns it."""
    return type(sandbox) is volant.Sandbox, sandbox.exec("echo", "hi").stdout.read(), sandbox


def test_a_sandbox_is_an_argument_and_a_result(idling: volant.Sandbox) -> None:
    """Behaviours 11 and 136: it arrives as a sandbox, and can be used on both sides."""
    is_sandbox, printed, found = run_in.remote(idling)
    assert (is_sandbox, printed) == (True, "hi\n")
    assert type(found) is volant.Sandbox
    assert found.object_id == idling.object_id
    assert found.exec("true").wait() == 0


# -- made


def test_a_sandbox_needs_an_app() -> None:
    """Behaviour 114."""
    with pytest.raises(InvalidError, match="needs an app"):
        volant.Sandbox.create("true")
    with pytest.raises(InvalidError, match="does not run"):
        volant.Sandbox.create("true", app=volant.App("elsewhere"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"workdir": "relative"}, "absolute"),
        ({"name": "with space"}, "cannot be the name"),
        ({"timeout": 0}, "timeout"),
        ({"idle_timeout": -1}, "idle_timeout"),
        ({"encrypted_ports": [0]}, "a port is a number"),
        ({"encrypted_ports": [80], "unencrypted_ports": [80]}, "named twice"),
        ({"encrypted_ports": 8000}, r"encrypted_ports must be a list of ports, got 8000"),
        ({"readiness_probe": "true"}, r"no volant\.Probe"),
        ({"app": "agent"}, r"app is no volant\.App, got 'agent'"),
        ({"image": "debian"}, r"image is no volant\.Image, got 'debian'"),
        ({"secrets": {"a": "b"}}, r"^Sandbox\.create: secrets must be a list of volant\.Secret"),
        ({"tags": {"a": 1}}, "cannot be"),
        ({"block_network": True, "outbound_cidr_allowlist": ["10.0.0.0/8"]}, "block_network"),
        ({"block_network": True, "outbound_domain_allowlist": []}, "block_network"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(given: dict, text: str) -> None:
    """Behaviours 114 and 124."""
    with pytest.raises(InvalidError, match=text):
        volant.Sandbox.create(**{"app": app, **given})


def test_arguments_are_strings_of_bounded_size() -> None:
    """Behaviour 114."""
    with pytest.raises(InvalidError, match="are strings, got 5"):
        volant.Sandbox.create("sleep", 5, app=app)
    with pytest.raises(InvalidError, match="at most 65536"):
        volant.Sandbox.create("echo", "x" * (64 << 10), app=app)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"proxy": "p"}, "machine's own address"),
        ({"custom_domain": "example.com"}, "no domain belongs"),
        ({"include_oidc_identity_token": True}, "no identity tokens"),
        ({"network_file_systems": {"/nfs": 1}}, "volumes took their place"),
    ],
)
def test_what_means_nothing_here_says_why(given: dict, why: str) -> None:
    with pytest.raises(UnimplementedError, match=f"{next(iter(given))}.*{why}") as raised:
        volant.Sandbox.create(app=app, **given)
    assert raised.value.hint


def test_what_was_not_asked_for_is_not_refused() -> None:
    """As programs have it that name every argument."""
    sandbox = volant.Sandbox.create(
        "true", app=app, network_file_systems={}, cloud="aws", region=["eu"], custom_domain=None,
        proxy=None, include_oidc_identity_token=False, verbose=True, experimental_options={},
        gpu=None, cpu=(0.25, 1.0), memory=(64, 256), volumes={}, secrets=[], encrypted_ports=[],
        h2_ports=[], unencrypted_ports=[], runtime=None, pty=False, client=None,
    )  # fmt: skip
    assert sandbox.wait() == 0
    with pytest.raises(InvalidError, match="cloud must be the name of a cloud, got 5"):
        volant.Sandbox.create(app=app, cloud=5)
    with pytest.raises(InvalidError, match="no experimental option 'speed'"):
        volant.Sandbox.create(app=app, experimental_options={"speed": True})


def test_what_there_is_not_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        volant.Sandbox.create(app=app, colour="red")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"environment_name": "elsewhere"}, "environment_name= does nothing"),
        ({"cidr_allowlist": ["10.0.0.0/8"]}, "is called outbound_cidr_allowlist="),
    ],
)
def test_old_names_of_arguments_warn_and_work(given: dict, text: str) -> None:
    with pytest.warns(errors.DeprecationError, match=text):
        made = volant.Sandbox.create("true", app=app, **given)
    assert made.wait() == 0


# -- its end


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)]
)
def test_a_sandbox_ends_with_its_program(script: str, code: int) -> None:
    """Behaviour 117."""
    sandbox = volant.Sandbox.create("sh", "-c", script, app=app)
    assert sandbox.returncode is None
    assert sandbox.wait() == code
    assert (sandbox.returncode, sandbox.poll()) == (code, code)


def test_a_sandbox_that_runs_has_no_code(idling: volant.Sandbox) -> None:
    """Behaviour 117."""
    assert idling.poll() is None


def test_one_that_is_terminated_has_code_137() -> None:
    """Behaviours 117 and 120."""
    sandbox = volant.Sandbox.create("sleep", "1000", app=app)
    assert sandbox.terminate() is None
    assert sandbox.terminate(wait=True) == 137
    assert sandbox.wait(raise_on_termination=False) == 137
    with pytest.raises(SandboxTerminatedError, match="terminated by a request"):
        sandbox.wait()
    with pytest.raises(ExecutionError, match="has finished: it was terminated"):
        sandbox.exec("true")


def test_time_is_over_for_one_that_runs_too_long() -> None:
    sandbox = volant.Sandbox.create("sleep", "1000", app=app, timeout=0.3)
    with pytest.raises(SandboxTimeoutError, match=r"timeout of 0\.3 s"):
        sandbox.wait()
    assert sandbox.returncode == 124


def test_one_that_is_idle_ends_and_one_with_a_command_does_not() -> None:
    idle = volant.Sandbox.create(app=app, idle_timeout=0.3)
    busy = volant.Sandbox.create(app=app, idle_timeout=0.3)
    command = busy.exec("cat")
    with pytest.raises(SandboxTerminatedError, match=r"idle for 0\.3 s"):
        idle.wait()
    assert busy.poll() is None
    command.stdin.write_eof()
    command.stdin.drain()
    assert busy.wait(raise_on_termination=False) == 137


def test_one_that_somebody_is_connected_to_is_not_idle() -> None:
    server = "import socket\ns = socket.create_server(('', 8000))\nwhile 1: s.accept()[0].recv(1)"
    sandbox = volant.Sandbox.create(
        "python3", "-c", server, app=app, idle_timeout=3.0, unencrypted_ports=[8000],
        readiness_probe=volant.Probe.with_tcp(8000),
    )  # fmt: skip
    sandbox.wait_until_ready(timeout=30)
    with socket.create_connection(sandbox.tunnels()[8000].tcp_socket):
        other = volant.Sandbox.create(app=app, idle_timeout=3.5)
        with pytest.raises(SandboxTerminatedError, match=r"idle for 3\.5 s"):
            other.wait()
        assert sandbox.poll() is None
    with pytest.raises(SandboxTerminatedError, match=r"idle for 3 s"):
        sandbox.wait()


def test_a_program_that_is_not_there_is_named() -> None:
    sandbox = volant.Sandbox.create("no-such-program", app=app)
    assert sandbox.wait() == 127
    assert "cannot run `no-such-program`: there is no such program" in sandbox.stderr.read()


def test_its_processes_are_gone_when_it_has_ended() -> None:
    sandbox = volant.Sandbox.create(app=app, tags={"kind": "leaving"})
    sandbox.exec("sh", "-c", "(sleep 1000 & sleep 1000 &) ; sleep 1000")
    sandbox.exec("true").wait()
    sandbox.terminate(wait=True)
    assert not list(volant.Sandbox.list(tags={"kind": "leaving"}))


# -- found


def test_a_handle_closes_and_the_sandbox_goes_on() -> None:
    """Behaviour 120."""
    first = volant.Sandbox.create("cat", app=app)
    first.detach()
    asyncio.run(first.detach.aio())
    for use in (first.poll, lambda: first.exec("true"), first.stdout.read, first.stdin.drain):
        with pytest.raises(ClientClosed):
            use()
    second = volant.Sandbox.from_id(first.object_id)
    assert second.poll() is None
    second.stdin.write("still there\n")
    second.stdin.write_eof()
    second.stdin.drain()
    assert second.wait() == 0
    assert second.stdout.read() == "still there\n"


def test_sandboxes_are_found_by_id_name_and_tags() -> None:
    """Behaviour 121."""
    one = volant.Sandbox.create(app=app, name="finder", tags={"user": "ada", "kind": "found"})
    two = volant.Sandbox.create(app=app, tags={"user": "bob", "kind": "found"})
    ids = [one.object_id, two.object_id]
    assert volant.Sandbox.from_name("sandboxes", "finder").object_id == ids[0]
    assert [found.object_id for found in volant.Sandbox.list(tags={"kind": "found"})] == ids
    listed = volant.Sandbox.list(app_id=app.app_id, tags={"kind": "found", "user": "bob"})
    assert [found.object_id for found in listed] == ids[1:]
    two.set_tags({"user": "eve"})
    assert two.get_tags() == {"user": "eve"}
    assert [found.object_id for found in volant.Sandbox.list(tags={"kind": "found"})] == ids[:1]
    with pytest.raises(AlreadyExistsError, match="finder"):
        volant.Sandbox.create(app=app, name="finder")
    one.terminate(wait=True)
    with pytest.raises(NotFoundError):
        volant.Sandbox.from_name("sandboxes", "finder")
    found = volant.Sandbox.from_name("sandboxes", "finder", include_terminated=True)
    assert found.poll() == 137
    again = volant.Sandbox.create(app=app, name="finder")
    for sandbox in (again, two):
        sandbox.terminate(wait=True)
    with pytest.raises(NotFoundError):
        volant.Sandbox.from_id("sb-none")


def test_a_handle_travels(idling: volant.Sandbox) -> None:
    there = pickle.loads(pickle.dumps(idling))
    assert there.exec("echo", "here").stdout.read() == "here\n"


# -- ready, and reached


@pytest.mark.parametrize("block_network", [False, True])
def test_a_port_that_accepts_makes_it_ready(block_network: bool) -> None:
    """Behaviours 119 and 123."""
    sandbox = volant.Sandbox.create(
        "sh", "-c", "read go; exec python3 -m http.server 8000", app=app,
        block_network=block_network, unencrypted_ports=[8000], encrypted_ports=[8443],
        readiness_probe=volant.Probe.with_tcp(8000, interval_ms=10),
    )  # fmt: skip
    with pytest.raises(errors.TimeoutError, match=r"not ready within 0\.2 s"):
        sandbox.wait_until_ready(timeout=0.2)
    sandbox.stdin.write("go\n")
    sandbox.stdin.drain()
    sandbox.wait_until_ready(timeout=30)
    tunnels = sandbox.tunnels()
    assert sorted(tunnels) == [8000, 8443]
    assert tunnels[8000].tcp_socket == (tunnels[8000].host, tunnels[8000].port)
    with urllib.request.urlopen(tunnels[8000].url, timeout=30) as answer:
        assert answer.status == 200
    sandbox.terminate(wait=True)


def test_a_command_that_succeeds_makes_it_ready() -> None:
    """Behaviour 123."""
    probe = volant.Probe.with_exec("test", "-e", "/tmp/ready", interval_ms=10)
    sandbox = volant.Sandbox.create(app=app, readiness_probe=probe)
    sandbox.exec("touch", "/tmp/ready").wait()
    sandbox.wait_until_ready(timeout=30)
    sandbox.terminate(wait=True)


def test_nothing_makes_one_ready_that_has_no_probe_or_has_ended(idling: volant.Sandbox) -> None:
    """Behaviour 123."""
    with pytest.raises(InvalidError, match="no probe"):
        idling.wait_until_ready(timeout=1)
    ended = volant.Sandbox.create("true", app=app, readiness_probe=volant.Probe.with_tcp(1))
    with pytest.raises(SandboxTerminatedError, match=r"before it was ready: .* code 0"):
        ended.wait_until_ready(timeout=30)
    late = volant.Sandbox.create(app=app, timeout=0.1, readiness_probe=volant.Probe.with_tcp(1))
    with pytest.raises(SandboxTimeoutError, match=r"before it was ready: its timeout of 0\.1 s"):
        late.wait_until_ready(timeout=30)


# -- what it has


def test_it_has_variables_secrets_and_a_directory_and_nothing_of_ours() -> None:
    secret = volant.Secret.from_dict({"TOKEN": "kept-secret"})
    sandbox = volant.Sandbox.create(
        app=app, env={"COLOUR": "blue"}, secrets=[secret], workdir="/made/here"
    )
    told = sandbox.exec("sh", "-c", "pwd; echo $COLOUR $TOKEN; env").stdout.read().splitlines()
    assert told[:2] == ["/made/here", "blue kept-secret"]
    names = {line.partition("=")[0] for line in told[2:]}
    assert {name for name in names if name.startswith("VOLANT")} == {"VOLANT_SANDBOX_ID"}
    assert sandbox.exec("find", "/.volant", "!", "-type", "d").stdout.read() == ""
    assert sandbox.exec("ldconfig", "--version").wait() == 0  # as any root finds it
    shown = sandbox.exec("sh", "-c", "ls /proc/[0-9]*/fd -l | grep -c 'socket:'").stdout.read()
    # Each process of the holder's has its channels to the daemon, which takes nothing from them.
    assert int(shown) <= 3
    sandbox.terminate(wait=True)


def test_memory_beyond_its_limit_ends_what_takes_it() -> None:
    sandbox = volant.Sandbox.create(app=app, memory=(64, 64))
    taken = sandbox.exec("python3", "-c", "bytearray(512 << 20)")
    # Where there are no control groups, the kernel refuses memory instead.
    assert taken.wait() == 137 or "MemoryError" in taken.stderr.read()
    sandbox.terminate(wait=True)


@pytest.mark.parametrize("place", ["/tmp", "/usr"])
def test_who_writes_more_than_its_disk_is_ended_with_the_reason(place: str) -> None:
    if os.geteuid() != 0 and place == "/usr":
        pytest.skip("without root, trees of other owners are read-only")
    sandbox = volant.Sandbox.create(app=app, ephemeral_disk=8)
    neighbour = volant.Sandbox.create(app=app, ephemeral_disk=64)
    fill = f"head -c 16M /dev/urandom > {place}/filling; sleep 60"
    assert neighbour.exec("sh", "-c", fill.removesuffix("; sleep 60")).wait() == 0
    sandbox.exec("sh", "-c", fill)
    with pytest.raises(SandboxTerminatedError, match="its ephemeral_disk is 8 MiB"):
        sandbox.wait()
    assert neighbour.poll() is None
    neighbour.terminate(wait=True)


def test_a_volume_keeps_what_it_wrote() -> None:
    with volant.Volume.ephemeral() as volume:
        sandbox = volant.Sandbox.create(app=app, volumes={"/data": volume})
        assert sandbox.exec("sh", "-c", "echo kept > /data/file").wait() == 0
        sandbox.terminate(wait=True)
        eventually(lambda: [entry.path for entry in volume.listdir("/")] == ["file"], within_s=30)


def test_it_ends_with_its_app() -> None:
    own = volant.App("short")
    with own.run():
        sandbox = volant.Sandbox.create("sleep", "1000", app=own)
    with pytest.raises(SandboxTerminatedError, match="app was stopped"):
        sandbox.wait()


def test_one_of_a_deployed_app_stays_until_that_is_stopped() -> None:
    own = volant.App.lookup("lasting", create_if_missing=True)
    sandbox = volant.Sandbox.create("cat", app=own)
    assert volant.App.lookup("lasting", create_if_missing=True).app_id == own.app_id
    assert sandbox.poll() is None
    own.stop()
    assert sandbox.wait(raise_on_termination=False) == 137


def test_all_of_it_can_be_awaited() -> None:
    async def use() -> list[str]:
        sandbox = await volant.Sandbox.create.aio(app=app, tags={"kind": "awaited"})
        process = await sandbox.exec.aio("sh", "-c", "echo a; echo b; cat")
        process.stdin.write("c\n")
        process.stdin.write_eof()
        await process.stdin.drain.aio()
        lines = [line async for line in process.stdout]
        assert await process.wait.aio() == 0
        found = [one async for one in volant.Sandbox.list.aio(tags={"kind": "awaited"})]
        assert [one.object_id for one in found] == [sandbox.object_id]
        assert await sandbox.terminate.aio(wait=True) == 137
        return lines

    assert asyncio.run(use()) == ["a\n", "b\n", "c\n"]
