"""The real gateway, started and kept by the hub: its port, its end, its certificate."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import ssl
import urllib.request
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests import certificates
from tests.integration.hub.test_leases import web_spec
from volant import config as settings
from volant.errors import InvalidError
from volantd.hub.web.process import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def keep(world, tmp_path) -> Iterator[Callable[..., GatewayProcess]]:
    """Gives the hub a gateway with settings of its own."""
    world.services.machine.launcher = SimpleNamespace(run_dir=str(tmp_path))
    made: list[GatewayProcess] = []

    def make(**given: object) -> GatewayProcess:
        given = {"home": str(world.home), "gateway_port": 0, **given}
        made.append(GatewayProcess(world.hub, settings.load({}, given)))
        world.services.gateway = made[-1]
        return made[-1]

    yield make
    for process in made:
        pid = process.pid
        process.close()
        world.turn()
        if pid:
            world.until(lambda pid=pid: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _status(world, url: str, context: ssl.SSLContext | None = None) -> int:
    def ask() -> int:
        try:
            return int(urllib.request.urlopen(url, timeout=20, context=context).status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    found = world.loop.run_until_complete(world.loop.run_in_executor(None, ask))
    return int(found)


def test_no_gateway_runs_before_there_is_something_to_lead_to(world, client, keep):
    process = keep()
    client.open()
    assert (process.pid, process.port) == (0, 0)
    client.open(web_spec(), base=1 << 17)
    assert process.port
    world.until(lambda: process.pid)


def test_a_gateway_that_dies_is_replaced_at_the_same_port(world, client, keep):
    process = keep()
    client.open(web_spec())
    world.until(lambda: process.pid)
    url, before = f"http://127.0.0.1:{process.port}/nothing/", process.pid
    assert _status(world, url) == 404
    os.kill(before, signal.SIGKILL)
    assert _status(world, url) == 404  # who connects meanwhile only waits
    assert process.pid != before
    assert process.starts == 2
    assert "/app-f-dev/" in client_urls(world)


def client_urls(world) -> str:
    return str([app.urls for app in world.hub.apps.values()])


@pytest.mark.parametrize("output", [True, False])
def test_another_port_is_taken_when_the_one_wanted_is_not_free(world, client, keep, output):
    """Behaviour 137: who has not enabled output is not told of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        process = keep(gateway_port=wanted)
        client.open(web_spec(), output=output)
        assert process.port not in (0, wanted)
        notices = [event["text"] for event in client.events if event["op"] == "notice"]
    told = f"port {wanted} is taken: web functions are at port {process.port}"
    assert notices == ([told] if output else [])


def test_it_is_the_same_other_port_again(world, client, keep):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        first = keep(gateway_port=wanted)
        client.open(web_spec())
        world.until(lambda: first.pid)
        pid = first.pid
        first.close()
        world.until(lambda: not _runs(pid))
    second = keep(gateway_port=wanted)
    client.open(web_spec(), base=1 << 17)
    assert second.port == first.port


def test_a_gateway_that_outlives_its_daemon_does_not_keep_its_port(world, client, keep):
    """Not even one that was stopped before it could ask the kernel to end with its daemon."""
    first = keep()
    client.open(web_spec())
    world.until(lambda: first.pid)
    pid = first.pid
    os.kill(pid, signal.SIGSTOP)
    first.close()
    second = keep(gateway_port=first.port)
    client.open(web_spec(), base=1 << 17)
    assert second.port == first.port
    world.until(lambda: not _runs(pid))


def test_what_is_no_gateway_is_not_ended(world, client, keep, monkeypatch):
    """The kernel gives numbers of processes that are no more to others."""
    monkeypatch.setattr("volantd.hub.web.process.END_S", 0.05)
    with (world.home / "gateway.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        process = keep()
        client.open(web_spec())
        world.until(lambda: process.pid)


def test_a_certificate_makes_it_speak_tls(world, client, keep, tmp_path):
    cert, key = certificates.make(tmp_path)
    process = keep(gateway_tls_cert=str(cert), gateway_tls_key=str(key))
    client.open(web_spec())
    assert process.url_of("a").startswith("https://")
    context = ssl.create_default_context(cafile=str(cert))
    assert _status(world, f"https://127.0.0.1:{process.port}/nothing/", context) == 404


@pytest.mark.parametrize(
    "given",
    [
        {"gateway_host": "example.com"},
        {"gateway_tls_cert": "cert.pem"},
        {"gateway_tls_key": "key.pem"},
        {"gateway_trusted_fronts": "here"},
    ],
)
def test_settings_that_cannot_be_are_refused(keep, given):
    with pytest.raises(InvalidError):
        keep(**given)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://127.0.0.1:0/a/"),
        ("0.0.0.0", "http://127.0.0.1:0/a/"),
        ("::1", "http://[::1]:0/a/"),
    ],
)
def test_an_address_is_one_that_can_be_followed(keep, host, url):
    assert keep(gateway_host=host).url_of("a") == url


def test_names_below_localhost_are_used_where_they_lead_here(keep):
    process = keep()
    process.has_names = True
    assert process.url_of("a") == "http://a.localhost:0/"
