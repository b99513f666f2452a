"""Ports of containers that share the host's network: each has its own, and reaches everything."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from tests.runtime.test_command import Start
from volantd.runtime.containers.forked import SHARED_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote

PORT = 8000

#: Serves what it is told from a thread, with the standard library's own server.
SERVE = """
import http.server, socket, threading

def serve(word, host, port=8000, family=socket.AF_INET):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(word)
        def log_message(self, *args):
            pass
    class Server(http.server.ThreadingHTTPServer):
        address_family = family
        def server_bind(self):
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = "", self.server_address[1]
    server = Server((host, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def get(host, port=8000):
    import http.client
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request("GET", "/")
    return connection.getresponse().read()

import socketserver
"""


@pytest.fixture(scope="module")
def zygote(container_lab: Laboratory) -> Zygote:
    if not container_lab.launcher.probe.has_private_ports:
        pytest.skip("; ".join(container_lab.launcher.probe.reasons))
    return container_lab.zygote()


@pytest.fixture
def pair(container_lab: Laboratory, zygote: Zygote) -> Iterator[tuple[Container, Container]]:
    one, other = container_lab.fork(zygote), container_lab.fork(zygote)
    for container in (one, other):
        container.ask(SERVE)
    yield one, other
    one.end()
    other.end()


@pytest.fixture
def alone(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    container = container_lab.fork(zygote)
    container.ask(SERVE)
    yield container
    container.end()


def get(host: str, port: int = PORT) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request("GET", "/")
    return connection.getresponse().read()


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_two_containers_listen_at_the_same_port(
    pair: tuple[Container, Container], host: str
) -> None:
    one, other = pair
    one.ask(f"serve(b'one', {host!r})")
    other.ask(f"serve(b'other', {host!r})")
    assert one.ask("result = get('127.0.0.1')") == b"one"
    assert other.ask("result = get('127.0.0.1')") == b"other"
    assert get(one.forked.address) == b"one"
    assert get(other.forked.address) == b"other"


@pytest.mark.parametrize(
    "way", ["'127.0.0.1'", "'localhost'", "'0.0.0.0'", "'127.0.1.1'", "socket.gethostname()"]
)
def test_a_container_reaches_its_port_by_every_name_of_this_machine(
    alone: Container, way: str
) -> None:
    alone.ask("serve(b'mine', '0.0.0.0')")
    assert alone.ask(f"result = get({way})") == b"mine"


def own_address() -> str | None:
    """An address of this machine that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return str(probe.getsockname()[0])


def test_a_port_at_all_addresses_cannot_be_reached_by_one_that_others_see(
    alone: Container,
) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback's")
    alone.ask("serve(b'mine', '')")
    assert alone.ask(f"result = get({address!r})") == b"mine"
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect((address, PORT))


def test_who_lets_the_kernel_choose_a_port_is_reached_from_this_machine_only(
    alone: Container,
) -> None:
    alone.ask("server = serve(b'mine', '', 0)")
    port = alone.ask("result = server.server_port")
    device = alone.ask("result = server.socket.getsockopt(socket.SOL_SOCKET, 25, 16)")
    assert device == b"lo\0"
    assert alone.ask(f"result = get('127.0.0.1', {port})") == b"mine"
    assert get(alone.forked.address, port) == b"mine"


def test_a_port_of_loopback_that_the_kernel_chose_is_found_again(alone: Container) -> None:
    code = "server = serve(b'mine', '127.0.0.1', 0); result = get('localhost', server.server_port)"
    assert alone.ask(code) == b"mine"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


with_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@with_ipv6
def test_a_socket_of_both_families_is_reached_by_both(pair: tuple[Container, Container]) -> None:
    for container, word in zip(pair, (b"one", b"other"), strict=True):
        container.ask(f"serve({word!r}, '::', family=socket.AF_INET6)")
    for container, word in zip(pair, (b"one", b"other"), strict=True):
        for way in ("127.0.0.1", "::1", "localhost"):
            assert container.ask(f"result = get({way!r})") == word
        assert get(container.forked.address) == word


@with_ipv6
def test_one_socket_for_each_family_at_one_port(alone: Container) -> None:
    code = """
import asyncio

async def main():
    async def answer(reader, writer):
        writer.write(b"hi " + writer.get_extra_info("socket").family.name.encode())
        writer.close()
    server = await asyncio.start_server(answer, None, 8001)
    said = []
    for host in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(host, 8001)
        said.append(await reader.read())
        writer.close()
    server.close()
    return len(server.sockets or ()) or said

result = asyncio.run(main())
"""
    assert alone.ask(code) == [b"hi AF_INET", b"hi AF_INET6"]


def test_services_of_the_host_are_reached_as_before(alone: Container) -> None:
    with socket.create_server((SHARED_ADDRESS, 0)) as service:
        port = service.getsockname()[1]
        alone.ask("serve(b'mine', '0.0.0.0')")  # from now on connections are looked at
        client = f"client = socket.create_connection(('127.0.0.1', {port}), timeout=20)"
        alone.ask(client)
        peer, _ = service.accept()
        peer.sendall(b"of the host")
        assert alone.ask("result = client.recv(20)") == b"of the host"
        peer.close()


def test_datagrams_and_unix_sockets_are_left_alone(alone: Container) -> None:
    alone.ask("serve(b'mine', '0.0.0.0')")
    code = """
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", 8000))
unix = socket.socket(socket.AF_UNIX)
unix.bind("/tmp/0123456789")  # as long as an address of IPv4
unix.listen()
client = socket.socket(socket.AF_UNIX)
client.connect("/tmp/0123456789")
result = [datagrams.getsockname()[0], sender.getpeername()[0], client.getpeername()]
"""
    assert alone.ask(code) == ["0.0.0.0", "127.0.0.1", "/tmp/0123456789"]


def test_programs_and_threads_of_a_container_have_its_ports(alone: Container) -> None:
    code = """
import subprocess, sys
child = "import socket; s = socket.create_server(('', 8002)); print(s.getsockname()[0])"
shown = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True)
found = []
def bind():
    found.append(socket.create_server(("", 8002)).getsockname()[0])
thread = threading.Thread(target=bind)
thread.start()
thread.join()
result = [shown.stdout.strip(), *found]
"""
    assert alone.ask(code) == [alone.forked.address] * 2


def test_a_command_in_a_container_has_its_ports_too(
    container_lab: Laboratory, zygote: Zygote, alone: Container
) -> None:
    alone.ask("serve(b'mine', '0.0.0.0')")
    code = "import socket; print(socket.create_connection(('localhost', 8000)).getpeername()[0])"
    argv = (container_lab.python, "-c", code)
    start = Start(alone, zygote)
    running = start(*argv)
    assert running.read_until(b"\n", 1) == alone.forked.address.encode() + b"\n"
    running.close()


def test_an_address_that_a_program_cannot_write_is_changed_all_the_same(alone: Container) -> None:
    alone.ask("serve(b'mine', '0.0.0.0')")
    code = """
import ctypes, mmap, struct
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
page.write(struct.pack("=H", 2) + struct.pack(">H", 8000) + bytes([127, 0, 0, 1]) + bytes(8))
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
libc.mprotect(ctypes.c_void_p(at), 4096, 1)
client = socket.socket()
result = libc.connect(client.fileno(), ctypes.c_void_p(at), 16), client.getpeername()[0]
"""
    assert alone.ask(code) == (0, alone.forked.address)


def test_a_taken_port_is_taken_for_its_container(alone: Container) -> None:
    alone.ask("serve(b'mine', '0.0.0.0')")
    with pytest.raises(Failed, match="Address already in use"):
        alone.ask("socket.socket().bind(('127.0.0.1', 8000))")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("bind(sock.fileno(), 8, 16)", "EFAULT"),
        ("bind(sock.fileno(), ctypes.c_void_p(-1), 16)", "EFAULT"),
        ("bind(sock.fileno(), ctypes.c_void_p((1 << 63) - 1), 16)", "EFAULT"),
        ("bind(sock.fileno(), address, 1 << 20)", "EINVAL"),
        ("bind(999, address, 16)", "EBADF"),
        ("bind(-1, address, 16)", "EBADF"),
        ("bind(file.fileno(), address, 16)", "ENOTSOCK"),
        ("connect(sock.fileno(), 8, 16)", "EFAULT"),
        ("connect(999, address, 16)", "EBADF"),
        ("connect(file.fileno(), address, 16)", "ENOTSOCK"),
        ("listen(999, 5)", "EBADF"),
        ("listen(file.fileno(), 5)", "ENOTSOCK"),
    ],
)
def test_what_makes_no_sense_fails_as_anywhere(alone: Container, call: str, error: str) -> None:
    code = f"""
import ctypes, errno, struct
libc = ctypes.CDLL(None, use_errno=True)
serve(b"mine", "", 8003)
raw = ctypes.create_string_buffer(
    struct.pack("=H", 2) + struct.pack(">H", 8003) + bytes([127, 0, 0, 1]) + bytes(8))
address = ctypes.c_void_p(ctypes.addressof(raw))
sock, file = socket.socket(), open("/dev/null")
ctypes.set_errno(0)
status = libc.{call.replace("8, 16", "ctypes.c_void_p(8), 16")}
result = status, errno.errorcode.get(ctypes.get_errno())
"""
    assert alone.ask(code) == (-1, error)


def test_a_container_gets_no_port_that_it_may_not_bind(alone: Container) -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as first:
        if int(first.read()) <= 80:
            pytest.skip("on this machine anybody may bind low ports")
    with pytest.raises(Failed, match="PermissionError"):
        alone.ask("socket.socket().bind(('0.0.0.0', 80))")


def test_who_dies_amid_such_calls_leaves_its_supervisor_at_work(
    container_lab: Laboratory, zygote: Zygote
) -> None:
    code = """
import itertools, os, threading
def hammer():
    for port in itertools.count(20000):
        sock = socket.socket()
        try:
            sock.bind(("0.0.0.0", 20000 + port % 20000))
            sock.connect_ex(("127.0.0.1", 20001))
        except OSError:
            pass
        sock.close()
for _ in range(8):
    threading.Thread(target=hammer, daemon=True).start()
"""
    for _ in range(3):
        victim = container_lab.fork(zygote)
        victim.ask(SERVE)
        victim.ask(code)
        assert victim.ask("serve(b'amid', ''); result = get('127.0.0.1')") == b"amid"
        victim.end()
    after = container_lab.fork(zygote)
    after.ask(SERVE)
    assert after.ask("serve(b'after', ''); result = get('127.0.0.1')") == b"after"
    after.end()


def test_a_full_backlog_holds_up_nobody_but_who_connects(
    pair: tuple[Container, Container],
) -> None:
    stuck, other = pair
    stuck.ask("""
server = socket.socket()
server.bind(("", 8004))
server.listen(0)
waiting = []
def connect():
    client = socket.socket()
    waiting.append(client)
    client.connect(("127.0.0.1", 8004))
threads = [threading.Thread(target=connect, daemon=True) for _ in range(6)]
for thread in threads:
    thread.start()
""")
    assert stuck.ask("serve(b'stuck', ''); result = get('127.0.0.1')") == b"stuck"
    assert other.ask("serve(b'other', ''); result = get('127.0.0.1')") == b"other"


def test_a_container_without_network_binds_in_its_own(container_lab: Laboratory) -> None:
    zygote = container_lab.zygote(block_network=True)
    container = container_lab.fork(zygote)
    container.ask(SERVE)
    assert container.forked.address == ""
    assert container.ask("serve(b'mine', ''); result = get('127.0.0.1')") == b"mine"
    container.end()
    container_lab.end(zygote)


def test_where_it_cannot_be_ports_are_the_machines(container_lab: Laboratory) -> None:
    launcher = container_lab.launcher
    before = launcher.probe
    launcher.probe = dataclasses.replace(before, has_private_ports=False)
    try:
        zygote = container_lab.zygote()
        container = container_lab.fork(zygote)
    finally:
        launcher.probe = before
    container.ask("import socket; server = socket.create_server(('127.0.0.1', 0))")
    assert container.ask("result = server.getsockname()[0]") == SHARED_ADDRESS
    assert container.forked.address == SHARED_ADDRESS
    container.end()
    container_lab.end(zygote)


def test_the_init_of_a_cell_holds_no_listener(
    container_lab: Laboratory, zygote: Zygote, alone: Container
) -> None:
    other = container_lab.fork(zygote)  # its cell may be made when the listener of one was there
    third = container_lab.fork(zygote)
    for container in (alone, other, third):
        init = parent_in_cell(container.forked.pid)
        links = [os.readlink(f"/proc/{init}/fd/{fd}") for fd in os.listdir(f"/proc/{init}/fd")]
        assert not [link for link in links if "seccomp" in link]
    other.end()
    third.end()


def parent_in_cell(pid: int) -> int:
    """The process that is 1 where another lives."""
    namespace = os.readlink(f"/proc/{pid}/ns/pid")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                with open(f"/proc/{name}/status") as status:
                    [inner] = [line.split()[-1] for line in status if line.startswith("NSpid:")]
                if inner == "1":
                    return int(name)
    raise LookupError(pid)


def test_many_containers_serve_at_one_port_at_the_same_time(
    container_lab: Laboratory, zygote: Zygote
) -> None:
    containers = [container_lab.fork(zygote) for _ in range(10)]
    for index, container in enumerate(containers):
        container.ask(SERVE)
        container.ask(f"serve(b'{index}', '0.0.0.0')")
    found: dict[int, bytes] = {}

    def ask(index: int, container: Container) -> None:
        found[index] = get(container.forked.address)

    threads = [threading.Thread(target=ask, args=one) for one in enumerate(containers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: str(index).encode() for index in range(10)}
    for container in containers:
        container.end()
