"""Whom a sandbox may reach: networks by address, domains by name. Pure.

Addresses that are not of the internet (loopback, private networks, metadata services) are reached
only where a network of the list lies within such a range itself: `0.0.0.0/0` does not name them.
Loopback of this machine is never reached.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Entries of each list of a policy, and header replacements of one.
NETWORKS_MAX = 256
DOMAINS_MAX = 256
REPLACEMENTS_MAX = 25
#: Headers of one replacement, and characters of a value.
HEADERS_MAX = 16
VALUE_CHARS_MAX = 16 << 10
NAME_CHARS_MAX = 253
#: The port of HTTPS, and of HTTP.
TLS_PORT, HTTP_PORT = 443, 80

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
#: Headers that say where a request ends, or for whom it is.
_FRAMING = frozenset({
    "host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer",
    "expect", "keep-alive", "proxy-connection",
})  # fmt: skip

#: Never reached, whatever a list says: this machine's loopback.
_LOOPBACK = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "127.0.0.0/8", "::/127")))
#: Not of the internet: reached only where they are named.
_SPECIAL = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/3", "::/8", "100::/64", "2001::/23", "2001:db8::/32",
    "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
)))  # fmt: skip


def unwrapped(address: Address) -> Address:
    """An address of IPv4 that is written as one of IPv6, else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def is_within(network: Network, ranges: Iterable[Network]) -> bool:
    """Whether a network lies within one of some ranges."""
    return any(
        network.network_address in one and network.broadcast_address in one for one in ranges
    )


def plain_name(name: str) -> str | None:
    """A host's name as lists have it; None for what is none, such as an address."""
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    good = len(name) <= NAME_CHARS_MAX and all(_LABEL.fullmatch(label) for label in labels)
    return name if good and not labels[-1].isdigit() else None


def checked_domain(domain: str) -> str:
    """A domain of a list: a name, or `*.` and a name for all below it.

    Raises:
        ValueError: for what is none.
    """
    name = plain_name(domain.removeprefix("*."))
    if name is None:
        raise ValueError(f"{domain[:300]!r} is no domain, nor `*.` and one")
    return f"*.{name}" if domain.startswith("*.") else name


def matches(domain: str, name: str) -> bool:
    """Whether a plain name is meant by a domain of a list."""
    return name.endswith(domain[1:]) if domain.startswith("*.") else name == domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Headers that requests to a domain get in place of their own.

    Attributes:
        headers: name -> value; shown nowhere.
        chain, key: certificates and private key, as PEM, with which the domain is stood in for.
    """

    domain: str
    headers: dict[str, str] = field(repr=False)
    chain: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whom a sandbox may reach.

    Attributes:
        networks: reached by address, at every port.
        domains: reached by name, with HTTPS and HTTP at their own ports.
        is_open: whether there was no list: the whole internet.
        replacements: of headers; the first that matches counts.
    """

    networks: tuple[Network, ...] = ()
    domains: tuple[str, ...] = ()
    is_open: bool = False
    replacements: tuple[Replacement, ...] = ()

    @property
    def looks_up(self) -> bool:
        """Whether every name is looked up: a question tells its name's owner nothing new."""
        return self.is_open or any(network.prefixlen == 0 for network in self.networks)

    def allows(self, address: Address, *, is_ours: bool = False) -> bool:
        """Whether an address may be reached; `is_ours`: it is one of this machine's own."""
        address = unwrapped(address)
        here = ipaddress.ip_network(address)
        if is_within(here, _LOOPBACK):
            return False
        special = is_ours or is_within(here, _SPECIAL)
        for network in self.networks:
            if address in network:
                named = network.num_addresses == 1 or is_within(network, _SPECIAL)
                if named or not special:
                    return True
        return self.is_open and not special

    def reaches(self, address: Address, *, is_ours: bool) -> bool:
        """Whether an address may be reached that belongs to a name on the list."""
        if self.allows(address, is_ours=is_ours):
            return True
        here = ipaddress.ip_network(unwrapped(address))
        return not is_ours and not is_within(here, _SPECIAL)

    def names(self, name: str) -> bool:
        """Whether a plain name may be reached."""
        replaced = (one.domain for one in self.replacements) if self.is_open else ()
        return any(matches(one, name) for one in (*self.domains, *replaced))

    def replacement(self, name: str) -> Replacement | None:
        """What is replaced in requests to a plain name."""
        return next((one for one in self.replacements if matches(one.domain, name)), None)

    def as_fields(self) -> dict[str, Any]:
        """The policy for the process that applies it, secrets included."""
        return {
            "networks": [str(one) for one in self.networks], "domains": list(self.domains),
            "is_open": self.is_open,
            "replacements": [
                {"domain": one.domain, "headers": one.headers, "chain": one.chain, "key": one.key}
                for one in self.replacements
            ],
        }  # fmt: skip

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Policy:
        """A policy from what `as_fields` tells."""
        return cls(
            networks=tuple(map(ipaddress.ip_network, fields["networks"])),
            domains=tuple(fields["domains"]), is_open=fields["is_open"],
            replacements=tuple(Replacement(**one) for one in fields["replacements"]),
        )  # fmt: skip


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """Headers of a replacement, by lower-case names.

    Raises:
        ValueError: for what are none, and for those that frame a request.
    """
    if not 1 <= len(headers) <= HEADERS_MAX:
        raise ValueError(f"from 1 to {HEADERS_MAX} headers are replaced, not {len(headers)}")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _FRAMING:
            raise ValueError(f"{name[:100]!r} is no header that can be replaced")
        bad = not value.isprintable() or not value.isascii() or value != value.strip()
        if bad or len(value) > VALUE_CHARS_MAX:
            raise ValueError(f"the value of {name} cannot be sent in a header")
    return {name.lower(): value for name, value in headers.items()}
