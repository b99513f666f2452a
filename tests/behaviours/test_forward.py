"""`volant.forward`: ports of containers, reached from the machine (issue 5, item 7)."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import forwarding
from tests.support import eventually
from volant.errors import InvalidError, ResourceExhaustedError
from volantd.agent.ports.tunnels import TUNNELS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    with forwarding.app.run():
        yield


def get(at: tuple[str, int], path: str = "/") -> bytes:
    with closing(http.client.HTTPConnection(*at, timeout=30)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def is_closed(at: tuple[str, int]) -> bool:
    try:
        socket.create_connection(at, timeout=30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was still taken, and nobody was there
    return False


def test_a_port_is_reached_as_long_as_the_block_lasts() -> None:
    values = forwarding.serve.remote_gen("hello")
    tunnel = next(values)
    assert tunnel["url"] == f"http://127.0.0.1:{tunnel['at'][1]}"
    assert tunnel["tcp"] == tunnel["at"]
    assert get(tunnel["at"]) == b"hello"
    assert get(tunnel["at"], "/stop") == b"hello"
    assert next(values) == {}
    assert is_closed(tunnel["at"])


def test_containers_of_one_function_serve_at_one_port_side_by_side() -> None:
    with ExitStack() as stack:
        streams = [forwarding.serve.remote_gen(word) for word in ("one", "two", "three")]
        for stream in streams:
            stack.callback(stream.close)
        tunnels = [next(stream) for stream in streams]
        found = [get(tunnel["at"]) for tunnel in tunnels]
        for tunnel in tunnels:
            get(tunnel["at"], "/stop")
        assert found == [b"one", b"two", b"three"]
        assert [next(stream) for stream in streams] == [{}, {}, {}]


def test_a_container_without_network_is_reached_too() -> None:
    values = forwarding.serve_alone.remote_gen("alone")
    tunnel = next(values)
    assert get(tunnel["at"], "/stop") == b"alone"
    assert next(values) == {}


def test_async_code_waits_for_its_tunnel_in_an_async_block() -> None:
    values = forwarding.serve_async.remote_gen("async")
    tunnel = next(values)
    assert get(tunnel["at"], "/stop") == b"async"
    assert next(values) == {}
    assert is_closed(tunnel["at"])


def test_a_tunnel_ends_with_its_container() -> None:
    values = forwarding.serve.remote_gen("short")
    tunnel = next(values)
    assert get(tunnel["at"]) == b"short"
    with pytest.raises((http.client.HTTPException, OSError)):
        get(tunnel["at"], "/end")
    eventually(lambda: is_closed(tunnel["at"]))
    with pytest.raises(volant.Error):
        next(values)


def test_a_container_has_so_many_tunnels_and_no_more() -> None:
    assert len(set(forwarding.many.remote(TUNNELS_MAX))) == TUNNELS_MAX
    with pytest.raises(ResourceExhaustedError, match="which is the most"):
        forwarding.many.remote(TUNNELS_MAX + 1)
    assert forwarding.again.remote(2 * TUNNELS_MAX) == 2 * TUNNELS_MAX


def test_services_of_the_machine_are_reached_as_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        call = forwarding.reach.spawn(service.getsockname())
        peer, _ = service.accept()
        peer.sendall(b"of the machine")
        peer.close()
        assert call.get() == b"of the machine"


@pytest.mark.parametrize("port", [0, 65536, -1, "8000", 80.0, True, None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InvalidError, match="a port is a number from 1 to 65535"):
        volant.forward(port)


def test_a_client_of_ones_own_is_refused() -> None:
    wrong: Any = object()
    with pytest.raises(InvalidError, match="client"):
        volant.forward(8000, client=wrong)


def test_outside_of_a_container_there_is_no_tunnel() -> None:
    with pytest.raises(InvalidError, match="a port of a container"), volant.forward(8000):
        pass


def test_a_tunnel_says_where_it_is() -> None:
    tunnel = volant.Tunnel("127.0.0.1", 40000)
    assert repr(tunnel) == (
        "Tunnel(host='127.0.0.1', port=40000, unencrypted_host='', unencrypted_port=0)"
    )
    assert tunnel == volant.Tunnel("127.0.0.1", 40000)
    assert volant.Tunnel("::1", 40000).url == "http://[::1]:40000"
    with pytest.raises(InvalidError, match="unencrypted=True"):
        _ = tunnel.tcp_socket
    with pytest.raises(InvalidError, match="no TLS"):
        _ = tunnel.tls_socket
