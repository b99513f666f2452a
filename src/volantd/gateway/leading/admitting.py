"""Who may come in to a sandbox: by a token, in one of three places, and by where they come from.

    Authorization: Bearer TOKEN | ?_volant_connect_token=TOKEN | Cookie: _volant_connect_token=TOKEN

The token does not reach the sandbox; what it was made for does, as `X-Verified-User-Data`, which
nobody else can send.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import TYPE_CHECKING, Any

from volantd.gateway.heads import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.gateway.heads import RequestHead

_NAMES = rb"_(?:volant|modal)_connect_token"
_IN_QUERY = re.compile(rb"(?<=[?&])" + _NAMES + rb"=([A-Za-z0-9_-]+)(?:&|$)")
_IN_COOKIE = re.compile(rb"(?<=[; ])" + _NAMES + rb"=([A-Za-z0-9_-]+)(?:; ?|(?=\r))")
_COOKIES = re.compile(rb"(?mi)^cookie:[^\r]*+\r\n")
#: With underscores too: many servers take both for the same.
_VERIFIED = re.compile(rb"(?mi)^x[-_]verified[-_]user[-_]data:[^\r]*+\r\n")
_VERIFIED_NAME = re.compile(rb"x[-_]verified[-_]user[-_]data")
_AUTHORIZATION = re.compile(rb"(?mi)^authorization:[^\r]*+\r\n")


class Way:
    """One way in: where it leads, and whom it lets in.

    Attributes:
        address: of the socket that leads to the port.
        container: where that is.
    """

    def __init__(self, event: dict[str, Any]) -> None:
        """Take what the hub says: SHA-256 of tokens with their data, and networks or None."""
        self.address: str = event["address"]
        self.container: str = event["container"]
        self._tokens: dict[bytes, str] = dict(event["tokens"])
        networks = event["networks"]
        self._networks = None if networks is None else list(map(ipaddress.ip_network, networks))

    def admit(self, head: RequestHead, target: bytes, peer: str) -> bytes:
        """Let a request in, whose head is changed to what the sandbox gets; its target there.

        Raises:
            RefusedError: when it shows no token, or comes from elsewhere.
        """
        token, target = _taken(head, target)
        if self._networks is not None and not _is_in(peer, self._networks):
            raise RefusedError(403, "requests from this address are not taken")
        data = self._tokens.get(hashlib.sha256(token).digest()) if token else None
        if data is None:
            raise RefusedError(401, "this sandbox requires a token")
        fields = _VERIFIED.sub(b"", head.fields)
        head.listed = [name for name in head.listed if not _VERIFIED_NAME.fullmatch(name)]
        head.fields = fields + b"X-Verified-User-Data: " + data.encode("ascii") + b"\r\n"
        return target


def _taken(head: RequestHead, target: bytes) -> tuple[bytes, bytes]:
    """The token of a request, and its target; both are without it from then on."""
    token = b""
    scheme, _, shown = head.notable.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        token = shown.strip(b" ")
        head.fields = _AUTHORIZATION.sub(b"", head.fields)
    for found in _IN_QUERY.finditer(target):
        token = token or found[1]
    is_whole = target is head.target
    head.target = _without_token(head.target)
    target = head.target if is_whole else _without_token(target)
    for line in _COOKIES.findall(head.fields):
        for found in _IN_COOKIE.finditer(line):
            token = token or found[1]
        left = _IN_COOKIE.sub(b"", line)
        empty = left.partition(b":")[2].strip() == b""
        head.fields = head.fields.replace(line, b"" if empty else left)
    return token, target


def _without_token(target: bytes) -> bytes:
    if _IN_QUERY.search(target) is None:
        return target
    return _IN_QUERY.sub(b"", target).rstrip(b"?&") or b"/"


def _is_in(peer: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in networks)
