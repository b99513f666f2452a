"""Whom sandboxes reach, through the product; behaviour 124 of the reference."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.test_sealed import files_with
from tests.support import eventually
from volant.errors import ExecutionError, InvalidError, NotFoundError
from volant.experimental import OutboundPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("sandbox-networks")
#: Not as it is in this file, which goes along with what is deployed from it.
SECRET = "-".join(("never", "seen", "inside"))
CONNECT = """
import socket
sock = socket.create_connection(({host!r}, {port}), 10)
sock.settimeout(10)
sock.sendall(b"x")
print(sock.recv(10))
"""
RESOLVE = "import socket; print(socket.gethostbyname({!r}))"
FETCH = """
import urllib.error, urllib.request
try:
    urllib.request.urlopen("https://api.nowhere.invalid/")
except urllib.error.HTTPError as error:
    print(error.code)
"""
ANSWER = """
import socket
listener = socket.create_server(("127.0.0.1", {port}))
print("serving", flush=True)
while True:
    sock, _ = listener.accept()
    with sock:
        sock.recv(10)
        sock.sendall(b"inside")
"""


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with app.run():
        yield


def run(sandbox: volant.Sandbox | volant.types.SidecarContainer, code: str) -> tuple[str, str]:
    """What a program prints, and the last line of its errors."""
    process = sandbox.exec("python3", "-c", code)
    printed, complaint = process.stdout.read(), process.stderr.read()
    return printed.strip(), complaint.strip().splitlines()[-1] if complaint else ""


@pytest.fixture
def service() -> Iterator[tuple[str, int]]:
    """A service of this machine, at an address of its own that is not loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))  # sends nothing: only the route is looked up
        except OSError:
            pytest.skip("this machine has no network")
        host = probe.getsockname()[0]
    if ipaddress.ip_address(host).is_loopback:
        pytest.skip("this machine has no address but loopback")
    listener = socket.create_server((host, 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock:
                    sock.recv(10)
                    sock.sendall(b"here")

    thread = threading.Thread(target=serve)
    thread.start()
    yield host, listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def test_only_networks_of_the_list_are_reached(service: tuple[str, int]) -> None:
    """Behaviour 124."""
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=[f"{host}/32"])
    assert run(sandbox, CONNECT.format(host=host, port=port))[0] == "b'here'"
    for other in ("192.0.2.99", "169.254.169.254", "2001:db8::1", "10.255.255.1"):
        assert "Reset" in run(sandbox, CONNECT.format(host=other, port=port))[1]
    assert "refused" in run(sandbox, CONNECT.format(host="127.0.0.1", port=port))[1]
    sandbox.terminate()


def test_the_whole_internet_is_not_this_machine(service: tuple[str, int]) -> None:
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=["0.0.0.0/0"])
    assert "Reset" in run(sandbox, CONNECT.format(host=host, port=port))[1]
    sandbox.terminate()


def test_names_of_the_list_and_no_others_are_known(service: tuple[str, int]) -> None:
    """Behaviour 124."""
    sandbox = volant.Sandbox.create(app=app, outbound_domain_allowlist=["*.example.com"])
    assert run(sandbox, RESOLVE.format("www.example.com"))[0] == "198.18.0.1"
    assert "gaierror" in run(sandbox, RESOLVE.format("example.org"))[1]
    host, port = service
    assert "Reset" in run(sandbox, CONNECT.format(host=host, port=port))[1]
    sandbox.terminate()


def test_an_empty_list_is_nobody(service: tuple[str, int]) -> None:
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=[])
    assert "Reset" in run(sandbox, CONNECT.format(host=host, port=port))[1]
    sandbox.terminate()


def test_sockets_of_this_machine_are_out_of_reach() -> None:
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=["0.0.0.0/0", "::/0"])
    name = f"volant-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        assert run(sandbox, code)[1]
    code = "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).bind((0, 0))"
    assert run(sandbox, code)[1], "rules are not for the sandbox"
    sandbox.terminate()


def test_the_policy_of_a_sandbox_that_runs_is_changed(service: tuple[str, int]) -> None:
    host, port = service
    sandbox = volant.Sandbox.create(app=app, block_network=True)
    code = CONNECT.format(host=host, port=port)
    assert "unreachable" in run(sandbox, code)[1]
    sandbox.set_outbound_policy(outbound_cidr_allowlist=[f"{host}/32"])
    assert run(sandbox, code)[0] == "b'here'"
    sandbox.set_outbound_policy(block_network=True)
    assert "Reset" in run(sandbox, code)[1]
    sandbox.terminate()


def test_a_network_that_is_this_machines_cannot_be_limited() -> None:
    sandbox = volant.Sandbox.create(app=app)
    with pytest.raises(InvalidError, match="cannot be limited"):
        sandbox.set_outbound_policy(block_network=True)
    sandbox.terminate()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"outbound_cidr_allowlist": ["10.0.0.1/8"]}, "host bits"),
        ({"outbound_cidr_allowlist": "10.0.0.0/8"}, "list of strings"),
        ({"outbound_domain_allowlist": ["https://example.com"]}, "a domain is a name"),
        ({"outbound_domain_allowlist": ["*"]}, "a domain is a name"),
        ({"outbound_domain_allowlist": ["10.0.0.1"]}, "no domain"),
        ({"outbound_domain_allowlist": ["a.b"] * 257}, "at most 256"),
        ({"_experimental_outbound_policy": {}}, "OutboundPolicy"),
    ],
)
def test_lists_that_make_no_sense_are_refused(given: dict, text: str) -> None:
    """Behaviour 124."""
    with pytest.raises(InvalidError, match=text):
        volant.Sandbox.create(app=app, **given)


def test_a_policy_replaces_headers_for_so_many_domains() -> None:
    policy = OutboundPolicy()
    for number in range(25):
        policy = policy.with_header_replacement(domain=f"a{number}.test", headers={"x": "y"})
    with pytest.raises(InvalidError, match="at most 25"):
        policy.with_header_replacement(domain="b.test", headers={"x": "y"})


def test_a_secret_in_headers_never_enters_the_sandbox() -> None:
    begun = time.time() - 1
    policy = OutboundPolicy().with_header_replacement(
        domain="api.nowhere.invalid", headers={"Authorization": "Bearer ${TOKEN}"},
        secret=volant.Secret.from_dict({"TOKEN": SECRET}),
    )  # fmt: skip
    sandbox = volant.Sandbox.create(
        app=app, outbound_domain_allowlist=["api.nowhere.invalid"],
        _experimental_outbound_policy=policy,
    )  # fmt: skip
    # What stands in for the domain is trusted in there; nobody has this name, which it says.
    assert run(sandbox, FETCH) == ("502", "")
    seen = sandbox.exec("sh", "-c", "env; cat /proc/*/environ /proc/*/cmdline /etc/volant/*")
    assert SECRET not in seen.stdout.read()
    found = files_with(Path(os.environ["VOLANT_HOME"]), SECRET.encode(), begun)
    assert not [path for path in found if not path.startswith("run/")]
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert SECRET.encode() not in cmdline.read_bytes()
    sandbox.terminate()


def test_headers_are_changed_and_whom_it_reaches_stays(service: tuple[str, int]) -> None:
    host, port = service
    policy = OutboundPolicy().with_header_replacement(domain="a.test", headers={"x": "first"})
    sandbox = volant.Sandbox.create(
        app=app, outbound_cidr_allowlist=[f"{host}/32"], _experimental_outbound_policy=policy
    )
    code = CONNECT.format(host=host, port=port)
    assert run(sandbox, code)[0] == "b'here'"
    with pytest.raises(InvalidError, match="MISSING"):
        sandbox._experimental_update_outbound_policy(
            OutboundPolicy().with_header_replacement(
                domain="a.test", headers={"x": "${MISSING}"},
                secret=volant.Secret.from_dict({"A": "b"}),
            )
        )  # fmt: skip
    sandbox._experimental_update_outbound_policy(
        OutboundPolicy().with_header_replacement(domain="b.test", headers={"x": "second"})
    )
    assert run(sandbox, code)[0] == "b'here'"
    sandbox.terminate()


def test_a_variable_that_a_secret_has_not_keeps_the_sandbox_from_starting() -> None:
    policy = OutboundPolicy().with_header_replacement(
        domain="a.test", headers={"x": "${MISSING}"}, secret=volant.Secret.from_dict({"A": "b"})
    )
    sandbox = volant.Sandbox.create(app=app, _experimental_outbound_policy=policy)
    with pytest.raises(InvalidError, match="MISSING"):
        sandbox.wait()
    policy = OutboundPolicy().with_header_replacement(
        domain="a.test", headers={"x": "${A}"}, secret=volant.Secret.from_name("nobody-made-it")
    )
    sandbox = volant.Sandbox.create(app=app, _experimental_outbound_policy=policy)
    with pytest.raises(NotFoundError, match="nobody-made-it"):
        sandbox.wait()


def test_the_way_out_comes_back_when_its_process_dies(service: tuple[str, int]) -> None:
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=[f"{host}/32"])
    code = CONNECT.format(host=host, port=port)
    assert run(sandbox, code)[0] == "b'here'"
    log = Path(os.environ["VOLANT_HOME"]) / "daemon.log"

    def last_pid() -> int:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        return int([row["pid"] for row in rows if row["event"] == "egress_started"][-1])

    before = last_pid()
    os.kill(before, 9)
    eventually(lambda: last_pid() != before)
    assert run(sandbox, code)[0] == "b'here'"
    sandbox.terminate()


def test_a_sidecar_reaches_whom_its_sandbox_may(service: tuple[str, int]) -> None:
    """Behaviour 124."""
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=[f"{host}/32"])
    sidecar = sandbox.sidecars.create(name="beside")
    code = CONNECT.format(host=host, port=port)
    assert run(sidecar, code)[0] == "b'here'"
    assert "Reset" in run(sidecar, CONNECT.format(host="192.0.2.99", port=port))[1]
    sandbox.set_outbound_policy(block_network=True)
    assert "Reset" in run(sidecar, code)[1]
    with pytest.raises(InvalidError, match="no network of its own"):
        volant.Sandbox.from_id(sidecar.object_id).set_outbound_policy()
    sandbox.terminate()


def test_an_empty_list_of_a_sidecar_blocks_outside_traffic_only(service: tuple[str, int]) -> None:
    """Behaviour 124."""
    host, port = service
    sandbox = volant.Sandbox.create(app=app, outbound_cidr_allowlist=[f"{host}/32"])
    if os.geteuid() != 0:  # and nobody has given it control groups
        with pytest.raises(ExecutionError, match="has no control groups of version 2"):
            sandbox.sidecars.create(name="closed", outbound_cidr_allowlist=[])
        return
    sidecar = sandbox.sidecars.create(name="closed", outbound_cidr_allowlist=[])
    code = CONNECT.format(host=host, port=port)
    assert "Reset" in run(sidecar, code)[1]
    assert run(sandbox, code)[0] == "b'here'"
    served = sandbox.exec("python3", "-c", ANSWER.format(port=8811))
    assert next(iter(served.stdout)) == "serving\n"
    assert run(sidecar, CONNECT.format(host="127.0.0.1", port=8811))[0] == "b'inside'"
    sandbox.set_outbound_policy()
    assert "Reset" in run(sidecar, code)[1], "what is said of the sandbox is not said of it"
    sandbox.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make control groups")
def test_a_list_of_a_sidecar_is_its_own(service: tuple[str, int]) -> None:
    """A door for a sandbox that has no other; each has its own, whenever it came."""
    host, port = service
    sandbox = volant.Sandbox.create(app=app, block_network=True)
    code, name = CONNECT.format(host=host, port=port), RESOLVE.format("www.example.com")
    lists = {"outbound_cidr_allowlist": [f"{host}/32"], "outbound_domain_allowlist": []}
    door = sandbox.sidecars.create(name="door", **lists)
    named = sandbox.sidecars.create(name="named", outbound_domain_allowlist=["*.example.com"])
    plain = sandbox.sidecars.create(name="plain")
    assert run(door, code)[0] == "b'here'"
    assert "Reset" in run(named, code)[1]
    assert run(named, name)[0] == "198.18.0.1"
    for one in (sandbox, plain):
        assert "refused" in run(one, code)[1]
        assert "gaierror" in run(one, name)[1]
    sandbox.set_outbound_policy(outbound_domain_allowlist=["*.example.com"])
    assert run(plain, name)[0] == "198.18.0.1"
    assert "gaierror" in run(door, name)[1]
    assert run(door, code)[0] == "b'here'"
    assert "Reset" in run(sandbox, code)[1]
    sandbox.terminate()


def test_a_network_of_this_machine_is_not_limited_for_a_sidecar() -> None:
    """Behaviour 124: a list where nothing could hold to it raises."""
    sandbox = volant.Sandbox.create(app=app)
    for lists in ({"outbound_cidr_allowlist": []}, {"outbound_domain_allowlist": ["a.test"]}):
        with pytest.raises(InvalidError, match="cannot be limited for a sidecar"):
            sandbox.sidecars.create(name="limited", **lists)
    with pytest.raises(InvalidError, match=r"192\.0\.2\.0/33"):
        sandbox.sidecars.create(name="wrong", outbound_cidr_allowlist=["192.0.2.0/33"])
    with pytest.raises(TypeError, match="block_network"):
        sandbox.sidecars.create(name="wrong", block_network=True, outbound_cidr_allowlist=[])
    sandbox.terminate()


def test_headers_of_a_sidecars_requests_are_replaced_too() -> None:
    policy = OutboundPolicy().with_header_replacement(
        domain="api.nowhere.invalid", headers={"authorization": "Bearer ${KEY}"},
        secret=volant.Secret.from_dict({"KEY": SECRET}),
    )  # fmt: skip
    sandbox = volant.Sandbox.create(
        app=app, outbound_domain_allowlist=["api.nowhere.invalid"],
        _experimental_outbound_policy=policy,
    )  # fmt: skip
    sidecar = sandbox.sidecars.create(name="beside")
    assert run(sidecar, FETCH) == run(sandbox, FETCH) == ("502", "")
    sandbox.terminate()
