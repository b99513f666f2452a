"""Messages to the kernel that lead everything which leaves a network namespace to one port in it.

    connect 192.0.2.7:443 ─► route: every address is local ─► nat: redirected to the listener
                                         SO_ORIGINAL_DST of what that accepts tells 192.0.2.7:443

Written by hand: programs that do this need not be on the machine, and take a hundred times longer.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from struct import calcsize, pack, unpack_from

#: By family: how a packet's header names loopback, as an offset and what is there.
_LOOPBACK: dict[int, tuple[int, bytes]] = {
    socket.AF_INET: (16, b"\x7f"),
    socket.AF_INET6: (24, b"\0" * 15 + b"\1"),
}
DNS_PORT = 53
#: Until the kernel has answered; it does so at once.
ANSWER_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 1 << 16

_HEADER = "IHHII"
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_ERROR, _NEW_ROUTE, _BATCH_BEGIN, _BATCH_END = 2, 24, 16, 17
_NESTED = 0x8000
_TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_HOST, _TYPE_LOCAL = 255, 3, 254, 2
_OUT_INTERFACE, _LOOPBACK_INDEX = 4, 1
_NFTABLES = 10 << 8
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = _NFTABLES, _NFTABLES | 3, _NFTABLES | 6
_OUTPUT_HOOK, _DNAT_PRIORITY = 3, -100
_ACCEPT = 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_PROTOCOL = 16
_SOCKET_GROUP = 3
_NAME = b"volant\0"


def lead_out_to(ports: dict[int, int], group: tuple[int, int] | None = None) -> None:
    """Lead what leaves this thread's network namespace to listeners at its loopback.

    Args:
        ports: by protocol (TCP and UDP); of UDP only questions for names are led there.
        group: the id of a control group of version 2 and its level, counted from the root: only
            what its processes send, and that whatever is said of all; None for all.

    Raises:
        OSError: when the kernel will not.
    """
    families = list(_LOOPBACK)
    for family in families:
        with suppress(FileExistsError):  # somebody else of this network has a way out
            _tell(_NETLINK_ROUTE, [_message(_NEW_ROUTE, _CREATE, _route(family))], 1)
    rules = [message for family in families for message in _rules(family, ports, group)]
    begin = _message(_BATCH_BEGIN, 0, pack("!BBH", 0, 0, 10), acknowledged=False)
    end = _message(_BATCH_END, 0, pack("!BBH", 0, 0, 10), acknowledged=False)
    _tell(_NETLINK_NETFILTER, [begin, *rules, end], len(rules))


def _route(family: int) -> bytes:
    """All addresses of a family are local."""
    kind = (family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_HOST, _TYPE_LOCAL, 0)
    return pack("BBBBBBBBI", *kind) + _attribute(_OUT_INTERFACE, pack("I", _LOOPBACK_INDEX))


def _rules(family: int, ports: dict[int, int], group: tuple[int, int] | None) -> list[bytes]:
    offset, prefix = _LOOPBACK[family]
    head = pack("!BBH", family, 0, 0)
    table = _attribute(1, _NAME)
    hook = _nest(4, _attribute(1, _number(_OUTPUT_HOOK)), _attribute(2, pack("!i", _DNAT_PRIORITY)))
    chain = table + _attribute(3, _NAME) + hook + _attribute(7, b"nat\0")

    # Those of a group go to the head of the chain one by one, so that they come first.
    flags, mine = (_CREATE | _APPEND, []) if group is None else (_CREATE, _of_group(*group))

    def rule(*expressions: bytes) -> bytes:
        body = head + table + _attribute(2, _NAME) + _nest(4, *mine, *expressions)
        return _message(_NEW_RULE, flags, body)

    to_port = [_payload(_TRANSPORT_HEADER, 2, 2), _equals(pack("!H", DNS_PORT))]
    to_loopback = [_payload(_NETWORK_HEADER, offset, len(prefix)), _equals(prefix)]
    questions = [
        rule(*_of_protocol(protocol), *to_port, *_redirect(port))
        for protocol, port in ports.items()
    ]
    rules = [
        *questions,
        rule(*to_loopback, _accept()),
        rule(*_of_protocol(socket.IPPROTO_TCP), *_redirect(ports[socket.IPPROTO_TCP])),
    ]
    return [
        _message(_NEW_TABLE, _CREATE, head + table),
        _message(_NEW_CHAIN, _CREATE, head + chain),
        *(rules if group is None else rules[::-1]),
    ]


# -- expressions, by the numbers of their attributes in linux/netfilter/nf_tables.h


def _expression(name: bytes, *attributes: bytes) -> bytes:
    return _nest(1, _attribute(1, name + b"\0"), _nest(2, *attributes))


def _of_protocol(protocol: int) -> list[bytes]:
    load = _expression(b"meta", _attribute(1, _number(1)), _attribute(2, _number(_META_PROTOCOL)))
    return [load, _equals(bytes([protocol]))]


def _of_group(number: int, level: int) -> list[bytes]:
    numbers = enumerate((_SOCKET_GROUP, 1, level), 1)
    load = _expression(b"socket", *(_attribute(at, _number(value)) for at, value in numbers))
    return [load, _equals(pack("=Q", number))]


def _payload(base: int, offset: int, size: int) -> bytes:
    numbers = enumerate((1, base, offset, size), 1)
    return _expression(b"payload", *(_attribute(at, _number(value)) for at, value in numbers))


def _equals(data: bytes) -> bytes:
    value = _nest(3, _attribute(1, data))
    return _expression(b"cmp", _attribute(1, _number(1)), _attribute(2, _number(0)), value)


def _accept() -> bytes:
    verdict = _nest(2, _nest(2, _attribute(1, _number(_ACCEPT))))
    return _expression(b"immediate", _attribute(1, _number(0)), verdict)


def _redirect(port: int) -> list[bytes]:
    value = _nest(2, _attribute(1, pack("!H", port)))
    load = _expression(b"immediate", _attribute(1, _number(1)), value)
    return [load, _expression(b"redir", _attribute(1, _number(1)))]


# -- messages


def _number(value: int) -> bytes:
    return pack("!I", value)


def _attribute(kind: int, data: bytes) -> bytes:
    return pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _nest(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _message(kind: int, flags: int, body: bytes, *, acknowledged: bool = True) -> bytes:
    flags |= _REQUEST | (_ACK if acknowledged else 0)
    return pack(_HEADER, calcsize(_HEADER) + len(body), kind, flags, 0, 0) + body


def _tell(protocol: int, messages: list[bytes], count: int) -> None:
    """Send messages, and wait until `count` of them were acknowledged.

    Raises:
        OSError: of the first that was not.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(ANSWER_TIMEOUT_S)
        sock.bind((0, 0))
        sock.sendto(b"".join(messages), (0, 0))
        while count > 0:
            data = sock.recv(ANSWER_BYTES_MAX)
            at = 0
            while at < len(data):
                size, kind, *_ = unpack_from(_HEADER, data, at)
                if kind == _ERROR:
                    code = -unpack_from("i", data, at + calcsize(_HEADER))[0]
                    if code:
                        raise OSError(code, f"the network has no way out: {os.strerror(code)}")
                    count -= 1
                at += size + 3 & ~3
