"""Heads of requests and responses: checked whole by one expression, then taken apart.

Strict, because whoever reads a request differently than the server behind makes two out of one.
What is passed on is what was understood. Pure: bytes in, records out.
"""

from __future__ import annotations

import hashlib
import re

from volantd.gateway import limits

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELDS = rb"((?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
_REQUEST = re.compile(
    rb"(?:\r\n)?+(" + _TOKEN + rb"{1,32}+) ([\x21-\x7e]++) HTTP/1\.([01])\r\n" + _FIELDS
)
_RESPONSE = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n" + _FIELDS
)
_TRAILERS = re.compile(_FIELDS)
#: A line that ends in only one of the two characters, or what no head may hold.
_BROKEN = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0")
_FORWARDED = rb"forwarded|x[-_]forwarded[-_][a-z0-9\-_]+|x[-_]real[-_]ip"
_HOP = rb"connection|keep-alive|proxy-connection|proxy-authorization|te|upgrade|http2-settings"
_KEYS = rb"modal-key|modal-secret|volant-key|volant-secret"
#: What decides how a request is read, where it goes, or what the server may believe of it.
_NOTABLE = re.compile(
    rb"^(host|content-length|transfer-encoding|expect|authorization|content_length"
    rb"|transfer_encoding|" + _HOP + rb"|" + _FORWARDED + rb"|" + _KEYS + rb"):([^\r]*+)\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_DROPPED = re.compile(
    rb"^(?:" + _HOP + rb"|" + _FORWARDED + rb"|content_length|transfer_encoding"
    rb"):[^\r]*+\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_NOTABLE_RESPONSE = re.compile(
    rb"^(content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade|te)"
    rb":([^\r]*+)\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_DROPPED_RESPONSE = re.compile(
    rb"^(?:connection|keep-alive|proxy-connection|te):[^\r]*+\r\n", re.IGNORECASE | re.MULTILINE
)
_LENGTH_FIELD = re.compile(rb"^content-length:[^\r]*+\r\n", re.IGNORECASE | re.MULTILINE)
_UPGRADE_FIELD = re.compile(rb"^upgrade:[^\r]*+\r\n", re.IGNORECASE | re.MULTILINE)
_ENCODING_FIELD = re.compile(rb"^transfer-encoding:[^\r]*+\r\n", re.IGNORECASE | re.MULTILINE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
#: `Host`: a name or an address, and perhaps a port.
_HOST = re.compile(rb"([A-Za-z0-9.\-_]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)(/[^#]*|\?[^#]*)?")
#: Fields that mean something else, or nothing, behind a body.
_NOT_BEHIND = re.compile(
    rb"^(?:host|content-length|transfer-encoding|content-encoding|content-type|content-range"
    rb"|trailer|authorization|cookie|set-cookie|expect|cache-control|content_length"
    rb"|transfer_encoding|" + _HOP + rb"|" + _FORWARDED + rb"|" + _KEYS + rb"):",
    re.IGNORECASE | re.MULTILINE,
)  # fmt: skip
_SESSION = re.compile(rb"^(?:volant|modal)-session-id:([^\r]*+)\r\n", re.IGNORECASE | re.MULTILINE)
#: A body that is cut into chunks.
CHUNKED = -1
#: A body that ends with its connection.
UNTIL_END = -2


class RefusedError(Exception):
    """A message that is not passed on.

    Attributes:
        status: the answer.
        text: what was wrong, for people.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class RequestHead:
    """What a request says of itself ahead of its body."""

    __slots__ = (
        "end", "expects", "fields", "host", "keep_alive", "length", "listed", "method", "minor",
        "notable", "takes_trailers",
        "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, minor: bytes, fields: bytes, end: int) -> None:
        self.method = method
        #: As it is passed on: begins with a slash, or is `*`.
        self.target = target
        self.minor = minor
        self.fields = fields
        #: Where the body begins.
        self.end = end
        #: As it was sent; b"" for an old client that sent none.
        self.host = b""
        #: Bytes of the body, or `CHUNKED`.
        self.length = 0
        self.keep_alive = minor == b"1"
        #: Names of fields that are only for this connection, beyond those that always are.
        self.listed: list[bytes] = []
        #: The protocol that the client would change to.
        self.upgrade = b""
        self.expects = False
        #: Whether the client takes fields behind a response's body.
        self.takes_trailers = False
        #: Those that matter here, by lower-case name.
        self.notable: dict[bytes, bytes] = {}

    def onward(self, target: bytes, added: bytes, *, secret: bytes = b"") -> bytes:
        """The head that the container's server gets.

        Args:
            target: the target, for its server.
            added: further fields, each with its end of line.
            secret: an expression for names of fields that were for the gateway.
        """
        fields = self.fields
        if self.notable:
            fields = _DROPPED.sub(b"", fields)
        for name in self.listed:
            fields = re.sub(rb"(?mi)^" + re.escape(name) + rb":[^\r]*+\r\n", b"", fields)
        if secret:
            fields = re.sub(rb"(?mi)^(?:" + secret + rb"):[^\r]*+\r\n", b"", fields)
        if self.upgrade:
            added += b"Connection: Upgrade\r\nUpgrade: " + self.upgrade + b"\r\n"
        elif self.takes_trailers:
            added += b"Connection: TE\r\nTE: trailers\r\n"
        return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (self.method, target, fields, added)


def read_request(data: bytes) -> RequestHead | None:
    """The head at the beginning of what a client has sent; None: it has not all come.

    Raises:
        RefusedError: for one that cannot be, or that asks for too much.
    """
    match = _REQUEST.match(data)
    if match is None:
        _find_fault(data)
        return None
    method, target, minor, fields = match.groups()
    end = match.end()
    if len(target) > limits.TARGET_BYTES_MAX:
        raise RefusedError(414, "the target is too long")
    if end > limits.HEAD_BYTES_MAX or fields.count(b"\n") > limits.FIELDS_MAX:
        raise RefusedError(431, "the head is too large")
    head = RequestHead(method, target, minor, fields, end)
    hosts = 0
    for raw_name, raw_value in _NOTABLE.findall(fields):
        name, value = raw_name.lower(), raw_value.strip(b" \t")
        if name == b"host":
            hosts += 1
            head.host = value
            continue
        if name in head.notable:
            if name in _SINGLE:
                raise RefusedError(400, f"`{name.decode()}` is there twice")
            value = head.notable[name] + b", " + value
        head.notable[name] = value
    if hosts > 1 or (not hosts and minor == b"1"):
        raise RefusedError(400, "a request has one `Host`")
    if head.host or hosts:
        check_host(head.host)
    if target[0] != 0x2F:
        _read_target(head)
    elif b"#" in target:
        raise RefusedError(400, "a target has no fragment")
    if method in _NO_METHODS:
        raise RefusedError(501, f"the gateway does not do {method.decode()}")
    if head.notable:
        _read_notable(head)
    return head


_SINGLE = frozenset((
    b"content-length", b"transfer-encoding", b"authorization", b"modal-key", b"modal-secret",
    b"volant-key", b"volant-secret",
))  # fmt: skip
_NO_METHODS = frozenset((b"CONNECT", b"TRACE"))


def _read_target(head: RequestHead) -> None:
    """Bring another form of a target than a path into that form."""
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise RefusedError(400, "`*` is a target of OPTIONS only")
        return
    if head.method in _NO_METHODS:
        return
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise RefusedError(400, "the target is no path and no address")
    authority, rest = match.groups()
    if authority.lower() != head.host.lower():
        raise RefusedError(400, "the target is of another host than `Host` says")
    check_host(authority)
    rest = rest or b"/"
    head.target = rest if rest[:1] == b"/" else b"/" + rest


def _read_notable(head: RequestHead) -> None:
    notable = head.notable
    length, encoding = notable.get(b"content-length"), notable.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None:
            raise RefusedError(400, "a body has either a length or chunks")
        if head.minor == b"0":
            raise RefusedError(400, "HTTP/1.0 knows no chunks")
        if encoding.lower() != b"chunked":
            raise RefusedError(501, "the gateway knows no transfer encoding but `chunked`")
        head.length = CHUNKED
    elif length is not None:
        if _DIGITS.fullmatch(length) is None:
            raise RefusedError(400, "`Content-Length` is no length")
        head.length = int(length)
    if head.minor == b"1" and b"te" in notable:
        words = notable[b"te"].lower().split(b",")
        head.takes_trailers = b"trailers" in [word.strip(b" \t") for word in words]
    connection = notable.get(b"connection")
    if connection is not None:
        _read_connection(head, connection)
    if b"expect" in notable:
        if notable[b"expect"].lower() != b"100-continue":
            raise RefusedError(417, "the gateway expects nothing but `100-continue`")
        head.expects = True


def _read_connection(head: RequestHead, value: bytes) -> None:
    names = [name.strip(b" \t").lower() for name in value.split(b",")]
    if len(names) > limits.LISTED_NAMES_MAX:
        raise RefusedError(400, "`Connection` lists too many names")
    if b"close" in names:
        head.keep_alive = False
    wanted = head.notable.get(b"upgrade", b"")
    # What speaks HTTP/2 behind our back would see requests that nobody has checked.
    may_change = head.minor == b"1" and not head.length and not wanted.lower().startswith(b"h2c")
    if b"upgrade" in names and may_change:
        head.upgrade = wanted
    head.listed = [name for name in names if name not in _NOT_LISTED]


_NOT_LISTED = frozenset((
    b"", b"close", b"keep-alive", b"upgrade", b"host", b"content-length", b"transfer-encoding",
    b"te", b"http2-settings", b"connection",
))  # fmt: skip


def session_of(head: RequestHead) -> bytes:
    """What tells the sessions of a server's clients apart, as long for each; empty for none."""
    found = _SESSION.search(head.fields)
    value = found[1].strip(b" \t") if found else b""
    return hashlib.sha256(value).digest() if value else b""


def check_host(host: bytes) -> tuple[bytes, bytes]:
    """The name, in lower case, and the port of a `Host` field.

    Raises:
        RefusedError: if it is none.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        raise RefusedError(400, "`Host` names no host")
    return match.group(1).lower().rstrip(b"."), match.group(2) or b""


def _find_fault(data: bytes) -> None:
    """See whether what does not match could still become a head.

    Raises:
        RefusedError: if not.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        line_end = data.find(b"\r\n", 2)
        if line_end < 0 and len(data) > limits.TARGET_BYTES_MAX + 64:
            raise RefusedError(414, "the first line is too long")
        if len(data) > limits.HEAD_BYTES_MAX:
            raise RefusedError(431, "the head is too large")
        if _BROKEN.search(data) is None and _could_begin(data):
            return
    elif end > limits.HEAD_BYTES_MAX:
        raise RefusedError(431, "the head is too large")
    line = data.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    version = re.search(rb" HTTP/([0-9]\.[0-9])$", line)
    if version is not None and version.group(1)[:1] != b"1":
        raise RefusedError(505, "the gateway speaks HTTP/1.1")
    raise RefusedError(400, "this is no request of HTTP/1.1")


_BEGIN = re.compile(
    rb"(?:\r\n?)?+(?:" + _TOKEN + rb"{0,32}+(?: [\x21-\x7e]*+(?: [HTP/1.0\r]*+)?+)?+)"
)
_FIRST_LINE = re.compile(rb"(?:\r\n)?+" + _TOKEN + rb"{1,32}+ [\x21-\x7e]++ HTTP/1\.[01]\r\n")
_FIELD_LINE = re.compile(_TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n")


def _could_begin(data: bytes) -> bool:
    """Whether the whole lines that have come can be of a head."""
    match = _FIRST_LINE.match(data)
    if match is None:
        return b"\n" not in data[2:] and _BEGIN.fullmatch(data) is not None
    at = match.end()
    last = data.rfind(b"\n") + 1
    while at < last:
        match = _FIELD_LINE.match(data, at)
        if match is None:
            return False
        at = match.end()
    return True


class ResponseHead:
    """What a response says of itself ahead of its body."""

    __slots__ = ("end", "keep_alive", "length", "raw", "status", "upgrades")

    def __init__(self, status: int, raw: bytes, end: int, *, keep_alive: bool) -> None:
        self.status = status
        #: As clients get it, but for the end: fields that are theirs may be added.
        self.raw = raw
        self.end = end
        #: Bytes of the body, `CHUNKED`, or `UNTIL_END`.
        self.length = UNTIL_END
        self.keep_alive = keep_alive
        self.upgrades = False


def read_response(data: bytes, method: bytes) -> ResponseHead | None:
    """The head at the beginning of what a container has sent; None: it has not all come.

    Raises:
        RefusedError: for one that cannot be.
    """
    match = _RESPONSE.match(data)
    if match is None:
        if b"\r\n\r\n" in data or len(data) > limits.RESPONSE_HEAD_BYTES_MAX:
            raise RefusedError(502, "the container's server sent no response of HTTP/1.1")
        return None
    minor, digits, fields = match.groups()
    status, end = int(digits), match.end()
    head = ResponseHead(status, data[: end - 2], end, keep_alive=minor == b"1")
    if minor == b"0":
        head.raw = b"HTTP/1.1" + head.raw[8:]
    length = encoding = None
    drop = False
    for raw_name, raw_value in _NOTABLE_RESPONSE.findall(fields):
        name, value = raw_name.lower(), raw_value.strip(b" \t")
        if name == b"content-length":
            if _DIGITS.fullmatch(value) is None or length not in (None, value):
                raise RefusedError(502, "the container's server sent no usable length")
            length = value
        elif name == b"transfer-encoding":
            if encoding is not None or value.lower() != b"chunked" or minor == b"0":
                raise RefusedError(502, "the container's server sent an unknown encoding")
            encoding = value
        elif name == b"connection":
            drop = True
            words = [word.strip(b" \t").lower() for word in value.split(b",")]
            if b"close" in words:
                head.keep_alive = False
            elif b"keep-alive" in words:
                head.keep_alive = True
        elif name == b"upgrade":
            head.upgrades = True
        else:
            drop = True
    if drop:
        head.raw = _DROPPED_RESPONSE.sub(b"", head.raw)
    if head.upgrades and status == 101:
        head.raw += b"Connection: Upgrade\r\n"
    elif head.upgrades:
        head.raw = _UPGRADE_FIELD.sub(b"", head.raw)
    _read_length(head, method, length, encoding)
    return head


def _read_length(
    head: ResponseHead, method: bytes, length: bytes | None, encoding: bytes | None
) -> None:
    """Find out how the body ends."""
    if encoding is not None and length is not None:
        head.raw = _LENGTH_FIELD.sub(b"", head.raw)
    if head.status < 200 or head.status == 204:
        if length is not None:
            head.raw = _LENGTH_FIELD.sub(b"", head.raw)
        if encoding is not None:
            head.raw = _ENCODING_FIELD.sub(b"", head.raw)
        head.length = 0
    elif method == b"HEAD" or head.status == 304:
        head.length = 0
    elif encoding is not None:
        head.length = CHUNKED
    elif length is not None:
        head.length = int(length)
    else:
        head.keep_alive = False


def without_chunks(raw: bytes) -> bytes:
    """A response's head for a client that knows no chunks."""
    return _ENCODING_FIELD.sub(b"", raw)


def check_trailers(data: bytes, at: int, *, of_request: bool) -> int:
    """Where the fields behind a last chunk end; 0: they have not all come.

    Raises:
        RefusedError: for fields that cannot be, or mean something else there.
    """
    match = _TRAILERS.match(data, at)
    if match is None:
        rest = data[at:]
        if len(rest) > limits.TRAILER_BYTES_MAX:
            raise RefusedError(431, "the fields behind the body are too large")
        if b"\r\n\r\n" in rest or _BROKEN.search(rest) is not None:
            raise RefusedError(400, "the fields behind the body are broken")
        _check_behind(rest, of_request=of_request)  # for what came is passed on before the rest
        return 0
    fields = match.group(1)
    if len(fields) > limits.TRAILER_BYTES_MAX or fields.count(b"\n") > limits.FIELDS_MAX:
        raise RefusedError(431, "the fields behind the body are too large")
    _check_behind(fields, of_request=of_request)
    return match.end()


def _check_behind(fields: bytes, *, of_request: bool) -> None:
    """Some servers take fields behind a body for those ahead of it."""
    if of_request and _NOT_BEHIND.search(fields) is not None:
        raise RefusedError(400, "a field behind the body belongs ahead of it")
