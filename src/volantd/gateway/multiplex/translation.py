"""Heads of HTTP/2 as heads of HTTP/1.1 and back. Pure.

Each field is checked by itself before it becomes a line: in HTTP/2 a value may hold an end of line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from volantd.gateway.heads import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.gateway.heads import RequestHead, ResponseHead

Field = tuple[bytes, bytes]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = re.compile(_TOKEN + rb"{1,32}")
_NAME = re.compile(_TOKEN + rb"+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(rb"/[\x21-\x7e]*|\*")
_STATUS = re.compile(rb"[1-5][0-9]{2}")
_AUTHORITY = re.compile(rb"[\x21-\x7e]+")
#: What HTTP/2 says by its frames.
_HOP = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
))  # fmt: skip


def request_lines(fields: Iterable[Field], *, has_body: bool) -> tuple[bytes, bool]:
    """The head of a client's request, and whether its body is to follow in chunks.

    Raises:
        RefusedError: for one that cannot be.
    """
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    cookies: list[bytes] = []
    hosts: set[bytes] = set()
    has_length = False
    for name, value in fields:
        if name[:1] == b":":
            pseudo[name] = value
            continue
        _check(name, value)
        if name == b"host":
            hosts.add(value)
        elif name == b"cookie":
            cookies.append(value)
        elif name not in _HOP:
            has_length |= name == b"content-length"
            lines.append(b"%b: %b\r\n" % (name, value))
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if method == b"CONNECT":
        raise RefusedError(501, "the gateway does not do CONNECT")
    if not _METHOD.fullmatch(method) or not _PATH.fullmatch(path):
        raise RefusedError(400, "the method or the path of the request is none")
    if pseudo.get(b":authority"):
        hosts.add(pseudo[b":authority"])
    host = hosts.pop() if len(hosts) == 1 else b""
    if not _AUTHORITY.fullmatch(host):
        raise RefusedError(400, "a request has one authority")
    if cookies:
        lines.append(b"cookie: %b\r\n" % b"; ".join(cookies))
    chunked = has_body and not has_length
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    begin = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, path, host)
    # Fields behind a body are part of HTTP/2, so whoever speaks it takes them.
    return b"%b%bte: trailers\r\n\r\n" % (begin, b"".join(lines)), chunked


def request_fields(head: RequestHead) -> list[Field]:
    """The fields of a request that was checked, as HTTP/2 has them."""
    scheme = b"https" if b"\r\nX-Forwarded-Proto: https\r\n" in b"\r\n" + head.fields else b"http"
    fields = [
        (b":method", head.method), (b":scheme", scheme), (b":authority", head.host),
        (b":path", head.target),
        *((name, value) for name, value in fields_of(head.fields) if name != b"host"),
    ]  # fmt: skip
    if head.takes_trailers:
        fields.append((b"te", b"trailers"))
    return fields


def response_lines(fields: Iterable[Field], more: bytes) -> bytes:
    """The head of a server's response, with further lines.

    Raises:
        RefusedError: for one that cannot be.
    """
    status, lines = b"", []
    for name, value in fields:
        if name == b":status":
            status = value
            continue
        _check(name, value)
        if name not in _HOP:
            lines.append(b"%b: %b\r\n" % (name, value))
    if not _STATUS.fullmatch(status) or status == b"101":
        raise RefusedError(502, "the container's server sent no status")
    return b"HTTP/1.1 %b \r\n%b%b\r\n" % (status, b"".join(lines), more)


def trailer_lines(fields: Iterable[Field]) -> bytes:
    """Fields behind a body, as lines.

    Raises:
        RefusedError: for what cannot be.
    """
    lines = []
    for name, value in fields:
        _check(name, value)
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise RefusedError(400, "a field is none")


def answer_fields(head: ResponseHead) -> list[Field]:
    """The fields of a response that was checked, as HTTP/2 has them."""
    return [(b":status", b"%d" % head.status), *fields_of(head.raw.partition(b"\r\n")[2])]


def fields_of(lines: bytes) -> list[Field]:
    """Lines that were checked, as fields."""
    found = []
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name and name not in _HOP:
            found.append((name, value.strip(b" \t")))
    return found
