"""The network: what a sandbox with `block_network=True` reaches, and sockets of all."""

from __future__ import annotations

import os
import socket
import struct

from tests.behaviours.escape.attempts import HOST, attempt, none_of, refused

#: Where clouds answer to whoever asks from a machine of theirs.
_METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192")
_WITHIN_S = 5


def _connecting(host: str, port: int):  # a call that gets an answer, or nothing
    def connect():
        with socket.create_connection((host, port), _WITHIN_S) as some:
            some.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = some.recv(1000)
            if not answer:
                raise OSError("nobody is there")
            return answer

    return connect


@attempt("the daemon's socket is not there, whatever its path is called")
def socket_of_the_daemon() -> str:
    def connect(path):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    roads = ("", "/proc/1/root", "/proc/2/root", "/proc/2/cwd")
    return refused(*((lambda road=road: connect(road + HOST["socket"])) for road in roads))


@attempt("abstract sockets of the host, and of neighbours, are out of reach")
def abstract_sockets() -> str:
    def connect(name, kind):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect("\0" + name)

    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    return refused(*(
        (lambda name=name, kind=kind: connect(name, kind))
        for name in HOST["abstract"] for kind in kinds
    ))  # fmt: skip


@attempt("devices and addresses of the network stay as they are")
def change_network() -> str:
    import fcntl

    def add_address():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as route:
            message = struct.pack("BBBBI", 2, 8, 0, 0, 1) + struct.pack("HH4s", 8, 2, b"\x0a\0\0\1")
            route.send(struct.pack("IHHII", 16 + len(message), 20, 0x605, 1, 0) + message)
            answer = route.recv(4096)
            code = struct.unpack_from("i", answer, 16)[0]
            if code:
                raise OSError(-code, "refused")

    def down():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
            fcntl.ioctl(some, 0x8914, struct.pack("16sH14x", b"lo", 0))

    return refused(add_address, down)


@attempt("without the machine's network, loopback of the host answers nobody")
def loopback_of_the_host() -> str:
    tries = [_connecting(host, HOST["port"]) for host in ("127.0.0.1", "localhost", "0.0.0.0")]
    return refused(*tries, _connecting("::1", HOST["port"]), _connecting("127.0.0.2", HOST["port"]))


@attempt("without the machine's network, nobody tells whose machine this is")
def metadata() -> str:
    return refused(*(_connecting(host, 80) for host in (*_METADATA, "fd00:ec2::254")))


@attempt("with a blocked network, no datagram leaves, and no name is found")
def datagrams() -> str:
    def send(host, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
            some.sendto(b"x", (host, port))

    def find():
        socket.getaddrinfo("localhost.example.invalid", 80)

    return refused(lambda: send("8.8.8.8", 53), lambda: send("255.255.255.255", 67), find)


@attempt("without the machine's network, there is one device, and no road from it")
def devices_of_the_network() -> str:
    names = {name for _, name in socket.if_nameindex()} - {"lo"}
    with open("/proc/net/route") as file:
        routes = file.read().splitlines()[1:]
    own = os.readlink("/proc/self/ns/net")
    return none_of([*names, *routes, *([own] if own == HOST["network"] else [])])
