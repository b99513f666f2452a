"""Which address of a container's own stands for which; and what a supervisor does not wait for."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import threading

import pytest
from hypothesis import given, strategies as st

from volant.runner import linux, seccomp
from volant.runner.ports import held, rules
from volant.runner.ports.supervisor import Supervisor

OWN = "127.20.1.2"
SECOND = "127.148.1.2"


def pack(host: str, port: int) -> bytes:
    if ":" in host:
        head = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0)
        return head + socket.inet_pton(socket.AF_INET6, host) + bytes(4)
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host)


def padded(host: str, port: int) -> bytes:
    raw = pack(host, port)
    return raw + bytes(16 - len(raw)) if len(raw) < 16 else raw


def parsed(host: str, port: int) -> rules.Address:
    found = rules.parse(padded(host, port))
    assert found is not None
    return found


def is_local(host: bytes) -> bool:
    return host in (socket.inet_aton("192.0.2.7"), socket.inet_pton(socket.AF_INET6, "2001:db8::7"))


def placed(host: str, port: int, *, only_ipv6: bool = False) -> str | None:
    own = rules.OwnPorts(OWN)
    found = own.place(parsed(host, port), only_ipv6=only_ipv6, is_local=is_local)
    return None if found is None else socket.inet_ntoa(found)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("0.0.0.0", 8000, OWN),
        ("0.0.0.0", 0, None),
        ("127.0.0.1", 8000, OWN),
        ("127.0.0.1", 0, OWN),
        ("127.9.9.9", 80, OWN),
        ("192.0.2.7", 8000, OWN),
        ("192.0.2.7", 0, None),
        ("192.0.2.8", 8000, None),
        ("::", 8000, OWN),
        ("::", 0, None),
        ("::1", 8000, SECOND),
        ("::1", 0, SECOND),
        ("::ffff:127.0.0.1", 8000, OWN),
        ("::ffff:0.0.0.0", 8000, None),
        ("2001:db8::7", 8000, SECOND),
        ("2001:db8::8", 8000, None),
    ],
)
def test_where_a_socket_is_bound(host: str, port: int, expected: str | None) -> None:
    assert placed(host, port) == expected


def test_a_socket_of_ipv6_alone_is_bound_beside_one_of_ipv4() -> None:
    assert placed("::", 8000, only_ipv6=True) == SECOND
    assert placed("::", 8000) == OWN


def own_with(*bound: tuple[str, int, bool]) -> rules.OwnPorts:
    own = rules.OwnPorts(OWN)
    for host, port, only_ipv6 in bound:
        wanted = parsed(host, port)
        where = own.place(wanted, only_ipv6=only_ipv6, is_local=is_local)
        assert where is not None
        own.note(wanted, where, port)
    return own


@pytest.mark.parametrize(
    ("bound", "to", "expected"),
    [
        (("0.0.0.0", False), "127.0.0.1", OWN),
        (("0.0.0.0", False), "0.0.0.0", OWN),
        (("0.0.0.0", False), "192.0.2.7", OWN),
        (("0.0.0.0", False), "192.0.2.8", None),
        (("0.0.0.0", False), OWN, None),
        (("0.0.0.0", False), "127.20.1.3", None),
        (("0.0.0.0", False), "::ffff:127.20.1.3", None),
        (("127.20.1.3", False), "127.20.1.3", OWN),
        (("0.0.0.0", False), "::1", None),
        (("0.0.0.0", False), "::ffff:127.0.0.1", "::ffff:" + OWN),
        (("::", False), "127.0.0.1", OWN),
        (("::", False), "::1", "::ffff:" + OWN),
        (("::", True), "127.0.0.1", None),
        (("::", True), "::1", "::ffff:" + SECOND),
        (("::", True), "::", "::ffff:" + SECOND),
        (("::1", True), "2001:db8::7", "::ffff:" + SECOND),
        (("::1", True), "2001:db8::8", None),
    ],
)
def test_where_a_connection_goes(bound: tuple[str, bool], to: str, expected: str | None) -> None:
    own = own_with((bound[0], 8000, bound[1]))
    found = own.find(parsed(to, 8000), is_local)
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    assert (None if found is None else socket.inet_ntop(family, found)) == expected


def test_a_connection_to_a_port_that_is_not_the_containers_goes_where_it_was_meant() -> None:
    own = own_with(("0.0.0.0", 8000, False), ("::1", 8001, True))
    for host, port in (("127.0.0.1", 8001), ("::1", 8000), ("127.0.0.1", 5432)):
        assert own.find(parsed(host, port), is_local) is None


@given(st.binary(max_size=40), st.sampled_from([None, 1, 2, 10, 16]))
def test_whatever_a_program_says_is_an_address_or_none(raw: bytes, domain: int | None) -> None:
    found = rules.parse(raw, domain)
    if found is None:
        return
    assert raw[found.at : found.at + len(found.host)] == found.host
    assert 0 <= found.port <= 65535
    own = own_with(("::", found.port or 1, False), ("::1", found.port or 1, True))
    where = own.find(found, is_local)
    assert where is None or len(where) == len(found.host)


def test_an_address_of_no_family_is_one_of_ipv4_to_a_socket_of_that() -> None:
    raw = bytes(2) + struct.pack(">H", 8000) + bytes(12)
    assert rules.parse(raw) is None
    found = rules.parse(raw, socket.AF_INET)
    assert found is not None
    assert (found.host, found.port) == (bytes(4), 8000)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.1.2", "127.127.0.1", "127.255.0.1", "10.0.0.1", "127.20.1", "x",
     "127.20.1.256", "127.20.1.-1", "127.20.1.2.3", "\u0661.2.3.4"],
)  # fmt: skip
def test_no_other_address_is_a_containers(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        rules.OwnPorts(address)


# -- with the kernel


def under_supervision(work: object) -> tuple[int, int]:
    """A child that is held at calls about ports; its pid, and the listener."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            listener = linux.install_supervised_seccomp(seccomp.build(tells_ports=True))
            socket.send_fds(theirs, [b"x"], [listener])
            os.close(listener)
            theirs.recv(1)
            os._exit(work())  # type: ignore[operator]  # as said
        finally:
            os._exit(99)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    if not fds:
        os.waitpid(pid, 0)
        pytest.skip("this kernel lets nobody decide on the calls of others")
    ours.send(b"x")
    ours.close()
    return pid, fds[0]


def bind() -> int:
    try:
        socket.socket().bind(("127.0.0.1", 0))
    except OSError as error:
        return error.errno or 98
    return 0


def test_calls_fail_when_nobody_decides_any_more() -> None:
    pid, listener = under_supervision(bind)
    os.close(listener)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.ENOSYS


def test_who_decides_does_not_wait_for_a_call_that_another_has_taken() -> None:
    Supervisor(select.poll())  # sets the alarm up
    pid, listener = under_supervision(bind)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    assert poll.poll()
    taken = held.receive(listener)
    assert taken is not None
    assert held.receive(listener) is None
    held.answer(listener, taken, errno.EDOM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EDOM
    os.close(listener)


def test_a_call_is_not_there_when_its_process_has_died() -> None:
    Supervisor(select.poll())
    pid, listener = under_supervision(bind)
    call = held.receive(listener)
    assert call is not None
    assert held.is_there(listener, call)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert not held.is_there(listener, call)
    held.answer(listener, call, 0)  # changes nothing, and fails nowhere
    os.close(listener)


def test_a_supervisor_lets_go_when_all_are_dead() -> None:
    poll = select.poll()
    supervisor = Supervisor(poll)
    pid, listener = under_supervision(bind)
    supervisor.watch(listener, "s1", OWN)
    while listener in supervisor:
        for fd, event in poll.poll():
            supervisor.on_event(fd, event)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_tells_of_no_calls_is_watched_by_nobody() -> None:
    supervisor = Supervisor(select.poll())
    reads, writes = os.pipe()
    for fd in (reads, writes):
        with pytest.raises(ValueError, match="tells of no calls"):
            supervisor.watch(fd, "s1", OWN)
        assert fd not in supervisor
        os.close(fd)


def test_a_fork_leaves_the_listeners_to_its_parent() -> None:
    supervisor = Supervisor(select.poll())
    pid, listener = under_supervision(bind)
    supervisor.watch(listener, "s1", OWN)
    supervisor.close()
    assert listener not in supervisor
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.ENOSYS


def awaiting(host: str, port: int) -> int:
    address = padded(host, port) + rules.AWAITED
    sock = socket.socket()
    return 0 if ctypes.CDLL(None).connect(sock.fileno(), address, len(address)) == 0 else 1


def connect_then_listen() -> int:
    """Two threads: one waits for a port, the other begins to listen there once that waits."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    found: list[int] = []
    port = listener.getsockname()[1]
    waiting = threading.Thread(target=lambda: found.append(awaiting("127.0.0.1", port)))
    waiting.start()
    os.read(0, 1)
    listener.listen()
    waiting.join()
    listener.accept()[0].close()
    return found[0] or awaiting("127.0.0.1", port)


def test_a_connection_that_waits_for_a_port_goes_on_when_somebody_listens() -> None:
    """And one to a port at which somebody listens already does not wait."""
    poll = select.poll()
    supervisor = Supervisor(poll)
    reads, writes = os.pipe()

    def work() -> int:
        os.dup2(reads, 0)
        return connect_then_listen()

    pid, listener = under_supervision(work)
    supervisor.watch(listener, "s1", OWN)
    events = 0
    while listener in supervisor:
        for fd, event in poll.poll():
            supervisor.on_event(fd, event)
            events += 1
        if events == 2:  # the port is bound, and somebody waits for it
            os.write(writes, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize(
    ("raw", "port"),
    [
        (padded("127.0.0.1", 8000) + rules.AWAITED, 8000),
        (padded("127.0.0.1", 8001) + rules.AWAITED, 0),
        (padded("127.0.0.1", 8000) + bytes(8), 0),
        (padded("127.0.0.1", 8000), 0),
        (bytes(16) + rules.AWAITED, 0),
    ],
)
def test_which_connections_wait(raw: bytes, port: int) -> None:
    own = rules.OwnPorts(OWN)
    own.listening.add(8001)
    assert own.awaited_port(raw) == port


def test_nothing_waits_in_a_container_that_listens_at_too_much_to_know() -> None:
    own = rules.OwnPorts(OWN)
    own.listening.update(range(1, rules.LISTENING_MAX + 1))
    assert own.awaited_port(padded("127.0.0.1", 60000) + rules.AWAITED) == 0
