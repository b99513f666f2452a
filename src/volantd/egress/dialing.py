"""Connections to the outside: names looked up and addresses judged here, in one step.

A name is looked up for each connection, and what is connected to is the very address that was
judged: an answer that changes in between (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.egress.policy import Address, Policy

#: Until a name is looked up, and until an address is connected to.
LOOK_UP_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 15.0
#: Addresses of a name that are tried.
ADDRESSES_MAX = 4


class NotAllowedError(OSError):
    """This may not be reached."""


class Outside:
    """What lies outside of sandboxes, as this machine knows and reaches it."""

    async def look_up(self, name: str) -> Sequence[Address]:
        """The addresses of a name.

        Raises:
            OSError: when there are none, or it takes too long (TimeoutError is one).
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            rows = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]

    def is_ours(self, address: Address) -> bool:
        """Whether an address is one of this machine's own: only those can be bound."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as trial:
                trial.bind((str(address), 0))
        except OSError as error:
            return error.errno == errno.EINVAL  # of a link: which one is not said
        return True

    async def connect(self, address: Address, port: int) -> socket.socket:
        """A socket that is connected to an address.

        Raises:
            OSError: when it cannot be reached (TimeoutError is one).
        """
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        except BaseException:
            sock.close()
            raise
        return sock


async def connect_to_name(name: str, port: int, policy: Policy, outside: Outside) -> socket.socket:
    """A socket that is connected to one of the addresses of a name that may be reached.

    Raises:
        NotAllowedError: when none of them may be.
        OSError: when it cannot be looked up or reached.
    """
    found = await outside.look_up(name)
    allowed = [one for one in found if policy.reaches(one, is_ours=outside.is_ours(one))]
    if not allowed:
        raise NotAllowedError(errno.EACCES, f"{name} has no address that may be reached")
    failed: OSError = OSError()
    for address in allowed[:ADDRESSES_MAX]:
        try:
            return await outside.connect(address, port)
        except OSError as error:
            failed = error
    raise failed
