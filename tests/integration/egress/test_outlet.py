"""Whom a sandbox reaches by name, by address and not at all; behaviour 124 of the reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.egress.chamber import FailedError
from tests.support import eventually
from volantd.egress.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.egress.outside import Stage

ASK = """
import socket
sock = socket.create_connection(({host!r}, {port}), 10)
sock.settimeout(10)
sock.sendall({data!r})
sock.shutdown(socket.SHUT_WR)
result = b"".join(iter(lambda: sock.recv(65536), b"")).decode("latin-1")
"""
GREET = """
import socket, ssl
context = ssl.create_default_context(cadata={authority!r})
context.check_hostname = {checks}
sock = socket.create_connection(({host!r}, 443), 10)
sock = context.wrap_socket(sock, server_hostname={name!r})
sock.sendall({data!r})
result = sock.recv(65536).decode("latin-1")
"""
#: How a connection is cut off, by when it is noticed.
CUT = "Reset|EOF|BrokenPipe|not connected"
GET = b"GET /a HTTP/1.1\r\nHost: %s\r\n\r\n"


def ask(stage: Stage, data: bytes, host: str = "198.18.0.1", port: int = 80) -> str:
    """What comes back for some bytes."""
    answer: str = stage.chamber.ask(ASK.format(host=host, port=port, data=data))
    return answer


def greet(stage: Stage, name: str | None, data: bytes = b"hello", host: str = "good.test") -> str:
    """What comes back for some bytes over TLS."""
    certificate = stage.authority.certificate
    code = GREET.format(
        authority=certificate, host=host, name=name, data=data, checks=name is not None
    )
    answer: str = stage.chamber.ask(code)
    return answer


# -- by name


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("good.test", True), ("GOOD.test.", True), ("a.wild.test", True), ("a.b.wild.test", True),
        ("wild.test", False), ("good.test.evil.test", False), ("evilgood.test", False),
        ("evil.test", False),
    ],
)  # fmt: skip
def test_requests_reach_the_domains_of_the_list(stage: Stage, name: str, reached: bool) -> None:
    server = stage.serve(name.lower().removesuffix("."), "1.1.1.1", 80)
    answer = ask(stage, GET % name.encode())
    assert answer.startswith("HTTP/1.1 200" if reached else "HTTP/1.1 403")
    assert bool(server.heard) is reached


def test_a_name_is_looked_up_by_the_daemon_and_not_by_the_sandbox(stage: Stage) -> None:
    server = stage.serve("good.test", "1.1.1.1", 80)
    assert ask(stage, GET % b"good.test", "9.9.9.9").startswith("HTTP/1.1 200")
    assert stage.outside.connected == [("1.1.1.1", 80)]
    assert server.heard


def test_tls_is_relayed_as_it_is_to_the_name_that_it_greets(stage: Stage) -> None:
    server = stage.serve("good.test", "1.1.1.1", 443, tls=True)
    assert greet(stage, "good.test", host="9.9.9.9").endswith("ok")
    assert stage.outside.connected == [("1.1.1.1", 443)]
    assert server.heard == [b"hello"]


@pytest.mark.parametrize("name", ["evil.test", None])
def test_tls_for_others_or_for_nobody_is_cut_off(stage: Stage, name: str | None) -> None:
    stage.serve("evil.test", "1.1.1.1", 443, tls=True)
    with pytest.raises(FailedError, match=CUT):
        greet(stage, name)
    assert not stage.outside.connected


def test_what_is_no_tls_gets_nowhere_at_its_port(stage: Stage) -> None:
    stage.serve("good.test", "1.1.1.1", 443)
    with pytest.raises(FailedError, match=CUT):
        ask(stage, GET % b"good.test", port=443)
    assert not stage.outside.connected


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0",
        "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "224.0.0.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("port", [80, 443])
def test_a_name_that_leads_inside_is_not_followed(stage: Stage, address: str, port: int) -> None:
    """DNS rebinding: what is judged is what is connected to."""
    stage.serve("good.test", address, port, tls=port == 443)
    if port == 80:
        assert ask(stage, GET % b"good.test").startswith("HTTP/1.1 403")
    else:
        with pytest.raises(FailedError, match=CUT):
            greet(stage, "good.test")
    assert not stage.outside.connected


def test_a_name_of_this_machine_itself_is_not_followed(stage: Stage) -> None:
    stage.serve("good.test", "1.1.1.1", 80)
    stage.outside.ours.add("1.1.1.1")
    assert ask(stage, GET % b"good.test").startswith("HTTP/1.1 403")
    assert not stage.outside.connected


# -- requests


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        b"GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        b"CONNECT evil.test:25 HTTP/1.1\r\nHost: good.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: good.test:25\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: good.test@evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 1.1.1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"GET / HTTP/1.1\r\nHost : good.test\r\n\r\n",
    ],
)
def test_requests_that_could_be_understood_in_two_ways_are_refused(
    stage: Stage, data: bytes
) -> None:
    server = stage.serve("good.test", "1.1.1.1", 80)
    stage.serve("evil.test", "1.0.0.1", 80)
    assert re.match("HTTP/1.1 40[03]|$", ask(stage, data))
    assert not server.heard
    assert not stage.outside.connected


def test_each_request_of_a_connection_is_judged(stage: Stage) -> None:
    server = stage.serve("good.test", "1.1.1.1", 80)
    evil = stage.serve("evil.test", "1.0.0.1", 80)
    answer = ask(stage, GET % b"good.test" + GET % b"evil.test" + GET % b"good.test")
    assert re.findall(r"HTTP/1.1 (\d+)", answer) == ["200", "403"]
    assert len(server.heard) == 1
    assert not evil.heard


def test_a_body_cannot_hide_a_request(stage: Stage) -> None:
    server = stage.serve("good.test", "1.1.1.1", 80)
    body = GET % b"evil.test"
    head = b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert ask(stage, head + body).startswith("HTTP/1.1 200")
    assert b"".join(server.heard).count(b"content-length: %d" % len(body)) == 1


def test_a_connection_can_become_a_websocket(stage: Stage) -> None:
    server = stage.serve("good.test", "1.1.1.1", 80)
    server.answer = (
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nback"
    )
    head = b"GET / HTTP/1.1\r\nHost: good.test\r\nConnection: upgrade\r\nUpgrade: "
    answer = ask(stage, head + b"websocket\r\n\r\n")
    assert answer.startswith("HTTP/1.1 101")
    assert answer.endswith("back")
    assert not ask(stage, head + b"h2c\r\n\r\n").startswith("HTTP/1.1 101")


# -- by address


def test_networks_are_reached_at_every_port(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(networks=("1.1.1.0/24", "2606:4700::/32"))
    stage.serve("a", "1.1.1.7", 2222).answer = b"four"
    stage.serve("b", "2606:4700::7", 443).answer = b"six"
    assert ask(stage, b"x", "1.1.1.7", 2222) == "four"
    assert ask(stage, b"x", "2606:4700::7", 443) == "six"


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("1.1.2.1", 80), ("2606:4700::7", 443), ("169.254.169.254", 80), ("10.0.0.1", 22),
        ("192.168.0.1", 53_000), ("fd00:ec2::254", 80), ("fe80::1%1", 80), ("198.18.0.1", 22),
    ],
)  # fmt: skip
@pytest.mark.parametrize("networks", [("1.1.1.0/24",), ("0.0.0.0/0",)])
def test_other_addresses_are_not_reached(
    make_stage: Callable[..., Stage], networks: tuple[str, ...], address: str, port: int
) -> None:
    if networks == ("0.0.0.0/0",) and address == "1.1.2.1":
        return  # the internet, which this allows
    stage = make_stage(networks=networks)
    with pytest.raises(FailedError, match=rf"{CUT}|unreachable|Invalid"):
        ask(stage, b"x", address, port)
    assert not stage.outside.connected


def test_private_networks_are_reached_when_they_are_named(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(networks=("10.1.0.0/16",))
    stage.serve("a", "10.1.2.3", 5432).answer = b"rows"
    assert ask(stage, b"x", "10.1.2.3", 5432) == "rows"


def test_nobody_reaches_the_listener_itself(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(networks=("0.0.0.0/0", "127.0.0.0/8", "::/0"))
    for host in ("127.0.0.1", "::1"):
        code = ASK.replace("{port}", "listener_port").format(host=host, data=b"x")
        with pytest.raises(FailedError, match=CUT):
            stage.chamber.ask(code)
    assert not stage.outside.connected


def test_datagrams_go_nowhere(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(networks=("0.0.0.0/0",))
    code = """
import socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(("1.1.1.1", 443))
sock.send(b"x")
sock.recv(10)
"""
    with pytest.raises(FailedError, match="ConnectionRefused"):
        stage.chamber.ask(code)


# -- questions for names

QUESTION = b"\0\7\1\0\0\1\0\0\0\0\0\0" + b"\4good\4test\0\0\1\0\1"
OVER_UDP = """
import socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(({host!r}, 53))
sock.send({data!r})
result = list(sock.recv(512))
"""


@pytest.mark.parametrize("host", ["8.8.8.8", "127.0.0.53"])
def test_names_of_the_list_have_an_address_that_stands_for_them(stage: Stage, host: str) -> None:
    answer = bytes(stage.chamber.ask(OVER_UDP.format(host=host, data=QUESTION)))
    assert answer[:2] == QUESTION[:2]
    assert answer.endswith(bytes([0, 4, 198, 18, 0, 1]))


def test_other_names_are_not_looked_up(stage: Stage) -> None:
    stage.outside.names["evil.test"] = ["1.1.1.1"]
    data = QUESTION.replace(b"good", b"evil")
    answer = bytes(stage.chamber.ask(OVER_UDP.format(host="8.8.8.8", data=data)))
    assert answer[3] & 15 == 5, "refused"
    assert len(answer) == len(data)


def test_questions_over_tcp_are_answered_by_the_same_rules(stage: Stage) -> None:
    data = b"".join(
        len(one).to_bytes(2, "big") + one for one in (QUESTION, QUESTION.replace(b"good", b"evil"))
    )
    answer = ask(stage, data, "8.8.8.8", 53).encode("latin-1")
    first = int.from_bytes(answer[:2], "big")
    assert answer[: 2 + first].endswith(bytes([198, 18, 0, 1]))
    assert answer[2 + first + 2 + 3] & 15 == 5
    assert not stage.outside.connected


def test_where_all_may_be_reached_names_are_looked_up(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(is_open=True)
    stage.outside.names["good.test"] = ["1.1.1.1", "2606:4700::7"]
    answer = bytes(stage.chamber.ask(OVER_UDP.format(host="8.8.8.8", data=QUESTION)))
    assert answer.endswith(bytes([0, 4, 1, 1, 1, 1]))


# -- changes and bounds

HOLD = """
import socket
held = socket.create_connection(("1.1.1.1", 7), 10)
held.settimeout(10)
held.sendall(b"x")
held.recv(2)
import builtins
builtins.held = held
"""
AFTER = "import builtins; held = vars(builtins).pop('held'); result = held.recv(10).decode()"


def test_a_change_ends_connections_that_it_does_not_allow(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(networks=("1.1.1.0/24",))
    stage.serve("a", "1.1.1.1", 7).answer = b"ok"
    stage.chamber.ask(HOLD)
    stage.change(Policy(domains=("good.test",)))
    with pytest.raises(FailedError, match=CUT):
        stage.chamber.ask(AFTER)
    with pytest.raises(FailedError, match=CUT):
        ask(stage, b"x", "1.1.1.1", 7)


def test_a_sandbox_has_so_many_connections_and_no_more(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(networks=("1.1.1.0/24",))
    stage.serve("a", "1.1.1.1", 7)
    code = """
import socket
many = [socket.create_connection(("1.1.1.1", 7), 10) for _ in range(257)]
many[-1].settimeout(10)
many[-1].recv(1)
"""
    with pytest.raises(FailedError, match=CUT):
        stage.chamber.ask(code)
    eventually(lambda: not stage.outlet._passages)
    assert ask(stage, b"x", "1.1.1.1", 7)
